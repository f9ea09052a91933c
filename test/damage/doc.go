// Package damage harms the files of a data directory that the real broker has written, in each region in turn, and watches the real
// broker and `metaq check` deal with it: no wrong byte is served, the check says where the damage is and what it costs, a dry run changes
// nothing, a repair leads to a broker that starts, and no offset is ever given to two messages.
//
// Each byte of each structure is harmed in memory by the tests of package store; this package is for what only files and processes show.
package damage
