package client

import (
	"os"
	"syscall"
)

// lockFile takes the lock that a file stands for, which nobody else can open meanwhile. It is let go when the file is closed, or its process ends.
func lockFile(name string) (*os.File, error) {
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	const shareNothing = 0
	h, err := syscall.CreateFile(path, syscall.GENERIC_READ|syscall.GENERIC_WRITE, shareNothing, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), name), nil
}

// syncDir has nothing to do: directories are kept with their files here.
func syncDir(string) error { return nil }
