// Package retention reads from the real broker what is being deleted: consumers at the oldest message, consumers that hold parts of answers
// for seconds while the segments behind them go, and consumers of a topic that is taken out of the configuration.
package retention
