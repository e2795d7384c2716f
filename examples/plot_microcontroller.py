"""
A network for a microcontroller
===============================

`to_c` writes a fitted network as a C99 header: constants and one function, without dependencies. Here it is
compiled for a Cortex-M4 where a compiler for it is installed, and for this machine, where it must give the very
numbers that `predict` gives.
"""

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
folder = Path(tempfile.mkdtemp())


def size_of(model):
    """Bytes of constants and code, and of memory, of the compiled function; None without a compiler."""
    cc = shutil.which("arm-linux-gnueabihf-gcc") or shutil.which("arm-none-eabi-gcc")
    size = cc and shutil.which(cc.replace("gcc", "size"))
    if not size:
        return None
    model.to_c(folder / "digits.h")
    (folder / "digits.c").write_text(
        '#include "digits.h"\nint f(const float *x, float *y) { return digits_predict(x, y); }'
    )
    target = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
    subprocess.run([cc, "-std=c99", "-Os", *target, "-c", "digits.c"], cwd=folder, check=True)
    text, data, bss = map(int, subprocess.check_output([size, folder / "digits.o"]).split(b"\n")[1].split()[:3])
    return text + data, bss


# %%
# How much does a digit cost? A few kilobytes go a long way:
sizes, scores = [], []
for n_units in (4, 8, 16, 32, 64):
    model = MLPClassifier((n_units,), max_iter=300, random_state=0).fit(X_train, y_train)
    n_parameters = sum(a.size for a in [*model.coefs_, *model.intercepts_])
    compiled = size_of(model)
    sizes.append((compiled[0] if compiled else 4 * n_parameters) / 1024)
    scores.append(100 * model.score(X_test, y_test))
    print(f"{n_units:>3} units: {n_parameters} parameters, compiled (bytes of flash, of memory): {compiled}")

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(sizes, scores, marker="o")
for n_units, size, score in zip((4, 8, 16, 32, 64), sizes, scores, strict=True):
    ax.annotate(f"{n_units} units", (size, score), textcoords="offset points", xytext=(8, -10))
ax.set(title="Digits read right, by the size of the network", xlabel="KiB of flash", ylabel="% right", xscale="log")
ax.set_xticks([2, 5, 10, 20], ["2", "5", "10", "20"])
ax.minorticks_off()
plt.show()

# %%
# The header, and a program around it that reads rows and writes probabilities:
model.to_c(folder / "digits.h")
print("\n".join((folder / "digits.h").read_text().split("\n")[:7]))
(folder / "main.c").write_text("""
#include "digits.h"
#include <stdio.h>
int main(void) {
    float x[DIGITS_N_INPUTS], y[DIGITS_N_OUTPUTS];
    while (fread(x, sizeof x, 1, stdin) == 1) {
        (void)digits_predict(x, y);
        fwrite(y, sizeof y, 1, stdout);
    }
    return 0;
}
""")
if cc := shutil.which("cc"):
    fma = ["-mfma"] if platform.machine() == "x86_64" else []
    subprocess.run([cc, "-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", *fma, "main.c"], cwd=folder, check=True)
    found = subprocess.run([folder / "a.out"], input=X_test.tobytes(), capture_output=True, check=True).stdout
    probabilities = np.frombuffer(found, np.float32).reshape(-1, 10)
    print("the same bits as predict_proba:", np.array_equal(probabilities, model.predict_proba(X_test)))
