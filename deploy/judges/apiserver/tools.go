//go:build tools

// Pins the API server that deploy/judges/server_dry_run.py builds: go build k8s.io/kubernetes/cmd/kube-apiserver.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
