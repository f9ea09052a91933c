// Package docs holds the tests of the pages: what they link to is there, targets of make, tests and metrics that they name exist, their Go compiles. Other packages
// test what they know better: tools/metaq the command lines, client/python the Python, protocol and store their formats, test/cluster the README's cluster. It
// has no code of its own.
package docs
