// runc for a machine that has given up capabilities. A privileged container asks for all of them, and runc fails on
// the first that this machine's bounding set lacks. This takes those out of the request, changes nothing else, and
// becomes runc. Where nothing is lacking it does nothing.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// By bit; `man 7 capabilities`.
var capabilities = strings.Fields(`
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

func main() {
	file, path := request(os.Args[1:])
	if file != "" {
		if err := narrow(file, path, lacking()); err != nil {
			fmt.Fprintln(os.Stderr, "runc-within:", err)
			os.Exit(1)
		}
	}
	real := runc()
	err := syscall.Exec(real, append([]string{real}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, "runc-within:", real, err)
	os.Exit(1)
}

// request returns the file that holds the capabilities asked for, and where in it, or "" if the command has none.
func request(arguments []string) (string, []string) {
	valued := map[string]bool{
		"--root": true, "--log": true, "--log-format": true, "--criu": true, "--rootless": true, "--pid-file": true,
		"--console-socket": true, "--bundle": true, "-b": true, "--process": true, "-p": true,
	}
	command, bundle, process := "", ".", ""
	for i := 0; i < len(arguments); i++ {
		name, value, joined := strings.Cut(arguments[i], "=")
		if valued[name] && !joined && i+1 < len(arguments) {
			i++
			value = arguments[i]
		}
		switch {
		case name == "--bundle" || name == "-b":
			bundle = value
		case name == "--process" || name == "-p":
			process = value
		case !strings.HasPrefix(name, "-") && command == "":
			command = name
		}
	}
	switch {
	case command == "create" || command == "run":
		return filepath.Join(bundle, "config.json"), []string{"process", "capabilities"}
	case command == "exec" && process != "":
		return process, []string{"capabilities"}
	}
	return "", nil
}

// lacking returns the capabilities that this process can never have.
func lacking() map[string]bool {
	missing := map[string]bool{}
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		value, found := strings.CutPrefix(line, "CapBnd:")
		if !found {
			continue
		}
		bounds, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		if err != nil {
			continue
		}
		for bit, name := range capabilities {
			if bounds&(1<<bit) == 0 {
				missing["CAP_"+name] = true
			}
		}
	}
	return missing
}

// narrow takes the missing capabilities out of every set in the file, and leaves the file alone if there are none.
func narrow(file string, path []string, missing map[string]bool) error {
	content, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return nil // runc says better what is wrong
	}
	if err != nil {
		return err
	}
	narrowed, changed, err := without(content, path, missing)
	if err != nil || !changed {
		return err
	}
	return os.WriteFile(file, narrowed, 0o600)
}

func without(document json.RawMessage, path []string, missing map[string]bool) (json.RawMessage, bool, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, false, err
	}
	changed := false
	if len(path) > 0 {
		inner, found := fields[path[0]]
		if !found || string(inner) == "null" {
			return document, false, nil
		}
		narrowed, did, err := without(inner, path[1:], missing)
		if err != nil {
			return nil, false, err
		}
		fields[path[0]], changed = narrowed, did
	} else {
		for set, value := range fields {
			var names []string
			if err := json.Unmarshal(value, &names); err != nil {
				return nil, false, err
			}
			kept := []string{}
			for _, name := range names {
				if !missing[name] {
					kept = append(kept, name)
				}
			}
			if len(kept) < len(names) {
				changed = true
				fields[set], _ = json.Marshal(kept)
			}
		}
	}
	if !changed {
		return document, false, nil
	}
	result, err := json.Marshal(fields)
	return result, true, err
}

// runc returns the path of the runc that this stands before.
func runc() string {
	self, _ := os.Executable()
	own, _ := os.Stat(self)
	for _, path := range []string{"/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", "/usr/local/bin/runc"} {
		if found, err := os.Stat(path); err == nil && !os.SameFile(found, own) {
			return path
		}
	}
	return "/usr/sbin/runc"
}
