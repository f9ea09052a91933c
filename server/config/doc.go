// Package config is the configuration of a broker: what a server.ini of Metamorphosis 1.4.6 says, with our additions, the environment and
// the command line on top. Package server and the command `metaq serve` use it; it does nothing but read one file.
//
// keys.go is the one place where a key is defined. docs/configuration.md explains the keys to users and conf/server.ini lists them; tests
// compare both with the definitions.
//
// What the package promises: a file that a broker of release 1.4.6 starts with means the same here, apart from the places that
// docs/configuration.md lists; nothing in a file is ignored silently; an error names the place, and the line if there is one.
package config
