"""Asks a server for a transcript four times a second, and prints what failed: `python caller.py http://MODEL`. Standard library only."""

import io
import os
import sys
import time
import urllib.request
import wave

clip = io.BytesIO()
with wave.open(clip, "wb") as file:
    file.setparams((1, 2, 16_000, 0, "NONE", ""))
    file.writeframes(os.urandom(6_400))
head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="noise.wav"\r\n\r\n'
request = urllib.request.Request(
    f"{sys.argv[1]}/v1/audio/transcriptions",
    head + clip.getvalue() + b"\r\n--part--\r\n",
    {"Content-Type": "multipart/form-data; boundary=part"},
)
good = 0
while True:
    try:
        urllib.request.urlopen(request, timeout=600).read()
        good += 1
    except Exception as error:  # noqa: BLE001 - whatever it was, the test wants to know
        print("FAILED", error, flush=True)
    print("good", good, flush=True)
    time.sleep(0.25)
