// Package python tests the Python client (client/python) with what Python people use for it: ruff, mypy, pytest. Its own tests start brokers of the present
// source; the wheel is built, installed into an environment with nothing else in it, and used against one.
//
// The tools are installed once into a virtual environment in the user's cache, under the hash of client/python/requirements-test.txt, see environment.go;
// scripts/test-setup.sh installs what that needs.
package python
