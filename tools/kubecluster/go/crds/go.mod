// No program: these modules bring definitions of kinds that the chart, the operator and the documents use (see toolchain.py).
module kubecluster/crds

go 1.26.8

require (
	github.com/fluxcd/kustomize-controller v1.9.6
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.3
)
