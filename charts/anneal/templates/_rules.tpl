{{/*
What the operator may do where FineTuneJobs are: verbs by use. Nothing reads Secrets, nothing runs commands in pods.
*/}}
{{- define "anneal.jobRules" -}}
- apiGroups: [anneal.dev]
  resources: [finetunejobs]
  verbs: [get, list, watch, patch] # patch: the finalizer
- apiGroups: [anneal.dev]
  resources: [finetunejobs/status]
  verbs: [patch]
- apiGroups: [anneal.dev]
  resources: [finetunejobs/finalizers]
  verbs: [update] # lets owner references block deletion where the cluster checks that right
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [ray.io]
  resources: [rayjobs, rayservices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps] # an attempt's pods may get and patch their own report; the operator must hold what it grants
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods] # why a part does not start: image, volume, scheduling
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [services] # whether the name of a RayService's Service is free: KubeRay would overwrite another one
  verbs: [get]
- apiGroups: [""]
  resources: [events] # the warnings about a job's pods
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events] # a job's transitions
  verbs: [get, create, patch]
{{- end -}}
