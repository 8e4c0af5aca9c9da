"""`rslad demo`: the first walk, with the programs of this wheel. What they do is `label --help` and `distill --help`."""
import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent


def programs():
    """Folder of `label` and `distill`: that of this installation, or of the first on the PATH."""
    places = [sysconfig.get_path("scripts"), *os.get_exec_path()]
    for place in places:
        if all(shutil.which(name, path=place) for name in ("label", "distill")):
            return Path(place)
    raise SystemExit("error: neither this installation nor the PATH has `label` and `distill`\n"
                     "hint: install the wheel, or in a clone `cargo install --locked --path stage1-label` and the same of stage2-distill")


class Version(argparse.Action):
    """Says the programs' version and commit: those of everything in the wheel."""

    def __call__(self, parser, *_):
        said = subprocess.run([programs() / "distill", "--version"], capture_output=True, text=True, check=True).stdout
        print(said.strip().replace("distill", parser.prog, 1))
        parser.exit()


def command_line():
    """What `rslad` takes."""
    parser = argparse.ArgumentParser(prog="rslad", description="Robust soft label distillation. The programs are "
                                     "`label` and `distill`; this shows them.")
    parser.add_argument("--version", action=Version, nargs=0, help="say the version and end")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="demo")
    demo = verbs.add_parser("demo", help="label real digits, distil a small robust student, compare: a minute or two")
    demo.add_argument("--out", type=Path, default=Path("rslad-demo"), help="folder for everything, made anew [default: rslad-demo]")
    return parser


def main():
    """Runs the command line; ends the process with the walk's exit code."""
    args = command_line().parse_args()
    out = args.out
    if out.exists() and not out.is_dir():
        raise SystemExit(f"error: {out} is no folder\nhint: --out FOLDER, which is made anew")
    # The walk removes the folder first: not one that somebody stands in.
    if out.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise SystemExit(f"error: {out} is the folder that this runs in, or one around it\nhint: --out FOLDER, which is made anew")
    if out.exists() and not (out / ".rslad-demo").exists() and any(out.iterdir()):
        raise SystemExit(f"error: {out} holds something else\nhint: --out FOLDER, which is made anew")
    try:
        walk = subprocess.run(["bash", HERE / "demo.sh", programs(), HERE / "teacher.safetensors", out])
    except KeyboardInterrupt:
        sys.exit(130)
    # Ended by a signal, as by a reader that went away: the code that shells give it.
    sys.exit(walk.returncode if walk.returncode >= 0 else 128 - walk.returncode)


if __name__ == "__main__":
    main()
