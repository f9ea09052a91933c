// Package interop runs the Java client of Metamorphosis, as it was released, against two of our brokers and a real ZooKeeper. The client is
// driven by a small program (java/), an Agent, that does what a test tells it and tells what it is given; what is right is judged here.
//
// The client comes from Maven Central by java/pom.xml, which names its version. It is fetched and compiled once and kept in the user's cache, see
// build.go; scripts/test-setup.sh installs Maven and a JDK.
//
// The Python client is driven by an agent of its own (python/) that takes the same commands. So it is put to the same tests, and into groups with members
// in Java and Go.
package interop
