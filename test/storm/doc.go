// Package storm runs spouts in a real Apache Storm, with bolts that fail and forget tuples, and with workers that are killed: our own, which Storm talks to over
// pipes, and that of Metamorphosis, on the Java client. Storm comes from Maven (java/pom.xml); LocalCluster is all of its daemons and one worker in one process.
package storm
