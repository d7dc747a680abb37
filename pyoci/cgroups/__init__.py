"""Control groups: where they are mounted, a container's directories in them, its limits.

`layout` says what the host mounts. `tree` makes, joins and removes a container's directories, and is what the
rest uses. `ownership` says whose a directory is. `members` lists, kills and freezes the processes in them. `v1`
and `v2` turn linux.resources into what is to be written where, `limits` writes it, `refusal` says why the
kernel didn't take it. `devices` has the device rules, `device_filter` the eBPF program that v2 needs for them.
`systemd` is the driver that leaves the making to systemd: `systemd_names` and `systemd_properties` say what,
`systemd_bus` talks to it, `gvariant` reads what annotations ask for.
"""

MANAGERS = ("cgroupfs", "systemd", "disabled")
"""What can make the cgroups, as --cgroup-manager names it."""
