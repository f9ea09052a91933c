// Package disk fills the disk under a running broker: real file systems of some megabytes, mounted for a test, by bytes and by inodes. Puts
// have to be refused while it lasts, and nothing else: gets go on, and puts work again by themselves once there is room. And a disk
// that cannot read one place loses that place only.
package disk
