"""A program that behaves as coqui-stt-training does: its lines, its files, its ways to fail. FAKE_COQUI has its plan:

{"epochs": [[training loss, dev loss], ...], "then": what it does after them, "unreadable": names of checkpoints}

A third number of an epoch is the rate to which it reduces the learning rate on a plateau, which takes it back to its best
checkpoint. A checkpoint contains the number of epochs that are in its weights. The flags of each call are appended to `calls`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

plan = json.loads(os.environ["FAKE_COQUI"])
module, words = sys.argv[3], sys.argv[4:]
flags = {word[2:]: words[at + 1] for at, word in enumerate(words) if word.startswith("--")}
folder = Path(flags["checkpoint_dir"])
with Path(os.environ["FAKE_COQUI_CALLS"]).open("a") as calls:
    hidden = ("STAGE_INPUT", "PYTHONPATH", "TF2_BEHAVIOR", "CUDA_VISIBLE_DEVICES")
    seen = {name: os.environ[name] for name in hidden if name in os.environ}
    calls.write(json.dumps({"module": module, "words": words, "environment": seen}) + "\n")


def save(name: str, content: int, pointer: str) -> Path:
    for ending in ("data-00000-of-00001", "index", "meta"):
        (folder / f"{name}.{ending}").write_text(str(content))
    (folder / pointer).write_text(f'model_checkpoint_path: "{name}"\n')
    return folder / name


def load(method: str) -> tuple[int, int]:
    """Return the epochs in the weights of a checkpoint, and its step."""
    pointer = (folder / {"last": "checkpoint", "best": "best_dev_checkpoint"}[method]).read_text()
    (name,) = re.findall('^model_checkpoint_path: "(.*)"', pointer)
    if name in plan.get("unreadable", ()):
        print("Traceback (most recent call last):\nDataLossError: Checksum does not match", file=sys.stderr)
        sys.exit(1)
    done = int((folder / f"{name}.data-00000-of-00001").read_text())
    return done, int(name.split("-")[1]) if "-" in name else done


if module == "coqui_stt_training.export":
    target = Path(flags["export_dir"])
    target.mkdir()
    (target / "output_graph.pb").write_text(f"weights after {load(flags['load_evaluate'])[0]} epochs")
    (target / "author_model_0.0.1.md").write_text("")
    sys.exit()

folder.mkdir(exist_ok=True)
(folder / "alphabet.txt").write_bytes(Path(flags["alphabet_config_path"]).read_bytes())
done, step = (0, 0) if flags["load_train"] == "init" else load("last")
steps = (len(Path(flags["train_files"]).read_text().splitlines()) - 1) // int(flags["train_batch_size"])
best, best_at = float("inf"), (done, step)
for epoch in range(int(flags["epochs"])):
    if epoch == len(plan["epochs"]):
        break
    loss, dev_loss, *reduced = plan["epochs"][epoch]
    done, step = done + 1, step + steps
    print(f"I Training epoch {epoch}...")
    print(f"I Finished training epoch {epoch} - loss: {loss:f}")
    save(f"train-{step}", done, "checkpoint")
    if dev_loss is not None:
        print(f"I Finished validating epoch {epoch} on {flags['dev_files']} - loss: {dev_loss:f}")
        if dev_loss < best:
            best, best_at = dev_loss, (done, step)
            saved = save(f"best_dev-{step}", done, "best_dev_checkpoint")
            print(f"I Saved new best validating model with loss {best:f} to: {saved}")
    for rate in reduced:
        print(f"I Encountered a plateau, reducing learning rate to {rate}")
        done, step = best_at
    if plan.get("then") == "stops early" and epoch + 1 == len(plan["epochs"]):
        print("I Early stop triggered as the loss did not improve the last 2 epochs")
        break
    print("-" * 80)
sys.stdout.flush()
then = plan.get("then", "")
if then.startswith("fails: "):
    print(f"Traceback (most recent call last):\n{then[7:]}", file=sys.stderr)
    sys.exit(1)
if then == "hangs":
    print("Traceback (most recent call last):\nFileNotFoundError: clip.wav", file=sys.stderr, flush=True)
if then in ("hangs", "waits"):
    time.sleep(600)
if then.startswith("leaves a process: "):
    left = subprocess.Popen(["sh", "-c", then.partition(": ")[2]])
    Path(os.environ["FAKE_COQUI_CALLS"]).with_name("left").write_text(str(left.pid))
if then == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
print("I FINISHED optimization in 0:00:01")
