"""The annotations of a config that change what pyoci does; `features` lists them. Not here: systemd's properties."""

# podman keeps the groups of a user without root by it (`--group-add keep-groups`): files that only such a group may read
# stay readable, though no id in the container stands for it.
KEEP_GROUPS = "run.oci.keep_original_groups"
# What --pidfd-socket says.
PIDFD_RECEIVER = "run.oci.pidfd_receiver"
# A configuration file of criu(8)'s, for checkpoint and restore.
CRIU_CONFIG = "org.criu.config"

ALL = (KEEP_GROUPS, PIDFD_RECEIVER, CRIU_CONFIG)
