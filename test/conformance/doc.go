// Package conformance replays exchanges that were recorded from the original broker, Metamorphosis 1.4.6.2, against
// ours and compares what comes back byte by byte. testdata/vectors.json holds them, testdata/server.ini the configuration
// they need.
//
// A vector is a list of steps; a step sends bytes on a connection and expects responses. In the texts one character is
// one byte (U+0000..U+00FF), and these tokens stand for something else:
//
//	${run}         six letters drawn for a run, so that its topics are new
//	${hex:0A1B}    these bytes
//	${rep:x:1000}  this character so many times
//	${len}         a decimal number: the length of the body
//	${id:NAME}     a signed 64-bit decimal number, remembered as NAME (message ids)
//	${num:NAME}    a decimal number >= 0, remembered as NAME; ${num} is not remembered
//	${=NAME}       a remembered number in decimal; ${=NAME+25} with something added
//	${be8:NAME}    a remembered number as 8 bytes, big-endian; ${be8:NAME:0:3} bytes 0 to 2 of it; ${be8} any 8 bytes
//	${broker}      meta://HOST:PORT, whatever host and port the broker calls itself
//	${dec} ${word} ${line} ${any}   a decimal fraction, no space or CR LF, no CR LF, anything
//	${lines:RE}    any number of lines, each matching RE
//
// The fields of a step: send, on the connection conn ("a" when it is missing), chunk bytes a write, wait_ms before it;
// close ends the connection before that. expect lists the responses in their order, in any order when unordered is set.
// then is what follows them: "closed" (the broker closes the connection), "silent" (nothing for a while) or "open". alt
// lists other outcomes that are right as well. or_error allows any answer of the 400s and 500s instead, or a close.
//
// The match of a vector is "exact" or "template", which compare every byte that is not a token's, or "status-only", which
// compares the verb, the code and the opaque and leaves the text to the broker. At its end every connection must still be
// in step, unless no_ping is set.
//
// testdata/differences.json replaces the few vectors in which we behave differently on purpose; docs/compatibility.md
// tells users why.
package conformance
