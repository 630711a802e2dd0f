# python:3.7-slim-bookworm for machines that cannot pull it: Debian 12 with the Python 3.7 of pyenv, whose folder is the build context.
# As in the image that goes by this name elsewhere: Python is in /usr/local, with these versions of pip, setuptools and wheel, and
# there is no compiler.

FROM docker.io/library/debian:bookworm-slim
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libbz2-1.0 libcrypt1 libffi8 liblzma5 libncursesw6 libnsl2 \
       libreadline8 libsqlite3-0 libssl3 libtirpc3 libuuid1 netbase tzdata zlib1g \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*
COPY . /usr/local/
# Scripts and the description of the build name the folder of pyenv. The imports fail if its Python needs libraries of another Debian.
ARG PREFIX
RUN grep --recursive --files-with-matches --binary-files=without-match --null "$PREFIX" /usr/local/bin /usr/local/lib \
    | xargs --null --no-run-if-empty sed --in-place "s|$PREFIX|/usr/local|g" \
    && ldconfig \
    && python3.7 -c 'import bz2, ctypes, curses, lzma, readline, sqlite3, ssl, uuid, zlib' \
    && python3.7 -m ensurepip \
    && printf '%s\n' \
       'pip==23.0.1 --hash=sha256:236bcb61156d76c4b8a05821b988c7b8c35bf0da28a4b614e8d6ab5212c25c6f' \
       'setuptools==57.5.0 --hash=sha256:60d78588f15b048f86e35cdab73003d8b21dd45108ee61a6693881a427f22073' \
       'wheel==0.42.0 --hash=sha256:177f9c9b0d45c47873b619f5b650346d632cdc35fb5e4d25058e09c9e581433d' > /tmp/requirements.txt \
    && python3.7 -m pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt \
    && find /usr/local -depth -type d -name __pycache__ -exec rm -r {} +
CMD ["python3"]
