"""The Windows program at a console of Wine: prompt, pages, Ctrl-C as an event.

Takes Wine, the folder of the program, a folder to work in, and a dump.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

wine, programs, folder, dump = sys.argv[1:]
program = os.path.join(programs, "ntheap.exe")
dump = "Z:" + dump.replace("/", "\\")
PATIENCE = 60


def fail(text):
    sys.exit("FAILED: " + text)


class Console:
    """A program at a terminal, which Wine makes a console of."""

    def __init__(self, arguments):
        self.text = ""
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.environ["TERM"] = "xterm"
            os.execv(arguments[0], arguments)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))

    def read(self, seconds):
        """What is printed within so many seconds; False at the end."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.terminal, 1 << 16)
        except OSError:
            return False
        # A console is drawn: places and colours are no text.
        text = data.decode("utf-8", "replace")
        text = re.sub(r"\x1b\[(\d*)C", lambda skip: " " * int(skip[1] or 1), text)
        self.text += re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])", "", text)
        return bool(data)

    def expect(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.text:
            if time.monotonic() > end or not self.read(1):
                fail(f"{text!r} was expected: {self.text[-2000:]!r}")
        self.text = self.text.split(text, 1)[1]

    def send(self, text):
        time.sleep(0.5)
        os.write(self.terminal, text.encode())

    def status(self):
        end = time.monotonic() + PATIENCE
        while True:
            self.read(0.2)
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                fail(f"the program does not end: {self.text[-2000:]!r}")


def at_the_prompt():
    console = Console([wine, program, "shell", dump])
    console.expect("> ")
    console.send("!heap\r")
    console.expect("NT Heap")
    console.expect("> ")
    console.send("!heap -p -all\r")
    console.expect("-- more")
    console.send(" ")
    console.expect("-- more")
    # Wine makes an event of it though the program reads keys as they come: the key behind it is taken, too.
    console.send("\x03")
    console.send("x")
    console.expect("> ")
    console.send("q\r")
    if (status := console.status()) != 0:
        fail(f"q ends with status {status}")
    print("ok: prompt, pages, Ctrl-C that stops a command")


EVENT = r"""
#include <stdio.h>
#include <windows.h>
/* Starts a program, sends Ctrl-C to the console of both, prints the program's status. */
int main(int count, char **arguments)
{
    STARTUPINFOA start = {sizeof start};
    PROCESS_INFORMATION process;
    DWORD status = 0;
    SECURITY_ATTRIBUTES inherited = {sizeof inherited, NULL, TRUE};
    HANDLE silent_end, end;
    if (count < 2 || !CreatePipe(&end, &silent_end, &inherited, 0)) return 1;
    /* A reader that waits for ever. */
    start.dwFlags = STARTF_USESTDHANDLES;
    start.hStdInput = end;
    start.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    start.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    SetConsoleCtrlHandler(NULL, FALSE);
    if (!CreateProcessA(NULL, arguments[1], NULL, NULL, TRUE, 0, NULL, NULL, &start, &process)) return 2;
    if (WaitForSingleObject(process.hProcess, 8000) != WAIT_TIMEOUT) {
        printf("ended too early\n");
        return 4;
    }
    SetConsoleCtrlHandler(NULL, TRUE);
    if (!GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)) printf("no event: %lu\n", GetLastError());
    if (WaitForSingleObject(process.hProcess, 30000) != WAIT_OBJECT_0) {
        printf("still running\n");
        TerminateProcess(process.hProcess, 9);
        return 3;
    }
    GetExitCodeProcess(process.hProcess, &status);
    printf("status %lx\n", status);
    return 0;
}
"""


def as_an_event():
    source = os.path.join(folder, "event.c")
    helper = os.path.join(folder, "event.exe")
    with open(source, "w", encoding="utf-8") as file:
        file.write(EVENT)
    subprocess.run(["x86_64-w64-mingw32-gcc-posix", "-o", helper, source], check=True)
    windows = "Z:" + program.replace("/", "\\")
    console = Console([wine, helper, f'"{windows}" shell "{dump}"'])
    # Windows itself would say c000013a; the handler of Wine, which nobody replaced, ends with 0.
    console.expect("status ")
    console.status()
    print("ok: Ctrl-C as an event ends the program")


at_the_prompt()
as_an_event()
