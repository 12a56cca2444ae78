package datadir

import "syscall"

// The magic numbers of statfs(2) for file systems whose locks or fsync SQLite
// cannot rely on.
var remote = map[int64]string{0x6969: "nfs", 0xff534d42: "cifs", 0xfe534d42: "smb2", 0x517b: "smb", 0x01021997: "9p",
	0x00c36400: "ceph", 0x47504653: "gpfs", 0x0bd00bd0: "lustre", 0x5346414f: "afs"}

func networkFS(path string) (string, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return "", false
	}
	name, ok := remote[int64(st.Type)&0xffffffff]
	return name, ok
}
