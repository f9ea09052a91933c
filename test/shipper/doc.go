// Package shipper proves `metaq ship`: real files that are rotated while they are written, the real binary killed again and again, and the broker killed
// on the way. Every line has to be stored, in the order of its file. It has the test alone, and what writes the files (writer.go).
//
// The long form, 10 minutes, is `make ship-proof`.
package shipper
