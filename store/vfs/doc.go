// Package vfs is the small piece of a file system that package store needs, as an interface with two
// implementations: OS, the real one, and Mem, its twin in memory.
//
// The store reaches files only through FS, so that a test can cut the power (Mem.CrashClone), kill the process
// (Mem.KillClone), make any call fail (Mem.Inject), fill the disk (Mem.SetCapacity) and assert the order in which
// files were written, synced and renamed (Mem.Calls).
//
// What both implementations promise:
//
//   - Data written to a file is safe against a power cut once Sync on that file returned nil, not before.
//   - A created, renamed or removed name is safe once SyncDir on its directory returned nil. MkdirAll syncs by itself.
//   - A Sync that failed says nothing about what is on the disk, and a later Sync that succeeds does not repair it:
//     the kernel may have dropped the pages that it could not write. The caller must stop trusting the file.
//   - A Mapping shows what WriteAt wrote to the same file, by whichever handle. There is no lock between the two: the
//     caller reads only bytes whose WriteAt happened before.
//
// What they do not promise: errors for bytes beyond the end of a mapped file that was cut after it was mapped (the
// kernel answers with SIGBUS), and safe use of Bytes after Unmap.
//
// Names are paths with slashes. All methods of an FS and of a File may be called from several goroutines.
package vfs
