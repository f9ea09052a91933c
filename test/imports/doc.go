// Package imports holds the test that keeps the parts apart: which package of this module may import which. It has no
// code of its own.
package imports
