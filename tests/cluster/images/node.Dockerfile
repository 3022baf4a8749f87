# What kindest/node is: systemd, containerd, a CNI, and the files that kind expects, on Debian.
ARG COMPONENTS
FROM ${COMPONENTS}
# After the packages, as in kind's own base image: no services but the node's, and no kernel log in the journal.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      systemd dbus ethtool util-linux mount libseccomp2 pigz e2fsprogs curl jq procps hostname \
      containerd runc containernetworking-plugins \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && find /lib/systemd/system/sysinit.target.wants/ -name "systemd-tmpfiles-setup.service" -delete \
 && rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
      /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
      /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/* \
 && echo "ReadKMsg=no" >> /etc/systemd/journald.conf \
 && ln -sf /lib/systemd/systemd /sbin/init \
 && mkdir -p /opt/cni /etc/kubernetes/manifests && ln -s /usr/lib/cni /opt/cni/bin \
 && for name in kubeadm kubelet kubectl; do ln -s /usr/local/bin/kube "/usr/bin/$name"; done \
 && for name in containerd ctr containerd-shim-runc-v2; do ln -s "/usr/bin/$name" /usr/local/bin/; done
COPY files/ /
RUN systemctl enable kubelet.service containerd.service undo-mount-hacks.service \
 && systemctl mask systemd-binfmt.service \
 && ln -s runc-within /usr/local/sbin/runc \
 && ctr oci spec \
      | jq '.hooks.createContainer[.hooks.createContainer| length] |= . + {"path": "/kind/bin/mount-product-files.sh"}' \
      | jq 'del(.process.rlimits)' > /etc/containerd/cri-base.json \
 && test -s /etc/containerd/cri-base.json && containerd --version && runc --version
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT [ "/usr/local/bin/entrypoint", "/sbin/init" ]
