# Every program of the control plane and its add-ons. One image under many names: its layers are kept once.
ARG BASE
FROM ${BASE}
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY bin/ /usr/local/bin/
