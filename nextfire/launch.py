"""Becomes another program, with the ties that a child process of the embedded stack needs.

Run as a script, never imported: `python -I -S launch.py PARENT SIGNAL USER COMMAND...`. It changes to USER,
if one is given, asks the kernel to send SIGNAL when the process PARENT dies, and executes COMMAND. This is a
program rather than a `preexec_fn`, because Python code between the fork and the exec of a threaded parent
can deadlock.
"""

import ctypes
import os
import pwd
import sys

_SET_PARENT_DEATH_SIGNAL = 1
_KEEP_CAPABILITIES = 8
_AMBIENT, _AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522
_DAC_OVERRIDE = 1


def main(arguments: list[str]) -> None:
    """Apply the ties of `arguments` and execute the command; does not return."""
    parent, death_signal, user, *command = arguments
    if user:
        become(user, reach_all=user.endswith("+"))
    if sys.platform == "linux":
        # After the change of user, which clears it.
        call_libc("prctl", _SET_PARENT_DEATH_SIGNAL, int(death_signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("The process that started this one is gone.")
    os.execv(command[0], command)  # noqa: S606  (there is no shell to go through)


def become(user: str, *, reach_all: bool) -> None:
    """Change to `user`; with `reach_all` keep the right to pass directories that are closed to it.

    PostgreSQL refuses to run as root. Where the project lies below root's own closed home, another user
    could reach neither the program nor the data, and to open that home for everyone is not ours to do.
    """
    entry = pwd.getpwnam(user.removesuffix("+"))
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    keep = reach_all and sys.platform == "linux"
    if keep:
        call_libc("prctl", _KEEP_CAPABILITIES, 1, 0, 0, 0)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    if keep:
        bit = 1 << _DAC_OVERRIDE
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
        call_libc("capset", header, sets)
        call_libc("prctl", _AMBIENT, _AMBIENT_RAISE, _DAC_OVERRIDE, 0, 0)


def call_libc(name: str, *arguments: object) -> None:
    """Call the C library's function `name`.

    Raises:
        OSError: the call failed.
    """
    values = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*values) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    main(sys.argv[1:])
