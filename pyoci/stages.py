"""The stages of commands on the host side, for who wants to see them: --trace and --debug.

A stage is a function, which knows nothing of it: it is wrapped when its module is imported. So without them nothing is paid.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Function = Callable[..., Any]

# A stage during which the init works.
TALK = "talk with pyoci-init"
# Module -> function, or class and method -> what it is called.
STAGES = {
    "spec.bundle": {"_read": "read config.json", "parse": "parse", "validate": "validate"},
    "host": {"read": "look at the host"},
    "plan.seccomp": {"compile_profile": "compile seccomp"},
    "plan.compile": {"compile_plan": "compile"},
    "plan.exec": {"compile_exec": "compile"},
    "container.store": {
        "reserve": "reserve the id",
        "find": "find the container",
        "read_config": "read config.json",
        "Entry.lock": "lock",
        "Entry.save": "write state.json",
        "Entry.remove": "remove the state directory",
    },
    "container.status": {"status": "look at its status"},
    "cgroups.tree": {
        "open_for": "open cgroups",
        "Cgroups.create": "make cgroups",
        "Cgroups.apply": "set limits",
        "Cgroups.update": "change limits",
        "Cgroups.apply_devices": "set device rules",
        "Cgroups.kill": "kill the cgroups",
        "Cgroups.freeze": "freeze or thaw",
        "Cgroups.remove": "remove cgroups",
    },
    "cgroups.systemd_bus": {
        "Manager.send_start": "ask systemd for the unit",
        "Manager.await_start": "wait for the unit",
        "Manager.set_properties": "tell systemd the limits",
        "Manager.stop": "stop the unit",
    },
    "cgroups.resctrl": {
        "Resctrl.create": "make the resctrl group",
        "Resctrl.remove": "remove the resctrl group",
    },
    "shim": {"seal": "seal pyoci-init", "spawn": "start pyoci-init", "run_hook": "hook"},
    "container.conversation": {"receive": "wait"},
    "container.id_maps": {"write": "write id maps"},
    "container.net_devices": {"NetDevices.move": "move network devices"},
    "container.trees": {"Trees.make": "make a tree"},
    "container.create": {"Birth._converse": TALK, "Birth.undo": "undo"},
    "container.exec": {"Joining._converse": TALK, "Joining.undo": "undo"},
    "container.start": {"_let_go": TALK},
    "container.foreground": {"wait": "wait for the program's end"},
    "container.kill": {"_send": "send the signal"},
    "container.delete": {"_end": "end it"},
    "container.listener": {"hand_over": "hand over the seccomp listener"},
    "container.host_mounts": {"remove": "unmount"},
    "container.mounting": {"_execute": TALK},
    "container.notify": {"Proxy.wait_until_ready": "wait until it is ready"},
    "container.criu": {"run": "criu"},
    "container.listing": {"show": "look at all containers"},
    "container.processes": {"_ps": "ps(1)"},
}


class Wrapping:
    """Wraps the functions of the stages, as soon as their modules are there.

    Arguments:
        wrapped: what takes a function's place: of the function, and what its stage is called.
    """

    def __init__(self, wrapped: "Callable[[Function, str], Function]") -> None:
        self._wrapped = wrapped
        self._waiting = dict(STAGES)
        self.go_on()

    def go_on(self) -> None:
        """Modules have been imported."""
        for name in list(self._waiting):
            module = sys.modules.get(f"pyoci.{name}")
            # A module is listed before its code has been executed.
            functions = self._waiting[name]
            if module and all(hasattr(module, function.partition(".")[0]) for function in functions):
                del self._waiting[name]
                for function, label in functions.items():
                    owner, _, attribute = function.rpartition(".")
                    place = getattr(module, owner) if owner else module
                    setattr(place, attribute, self._wrapped(getattr(place, attribute), label))
