// Package agent looks after one node: its pods' network, and volumes on its disk.
//
// It stands in for kindnet and for the local-path provisioner, which no package registry holds.
package agent

import (
	"context"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Run does so until it is asked to end.
func Run() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	client, err := connect()
	check(err)
	factory := informers.NewSharedInformerFactory(client, 10*time.Minute)

	node := os.Getenv("NODE_NAME")
	network, err := newNetwork(node, os.Getenv("POD_SUBNET"))
	check(err)
	check(network.watch(factory))
	check(newStorage(ctx, node, client).watch(factory))

	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	log.Printf("node %s: watching", node)
	<-ctx.Done()
}

// connect goes to the control plane by its own address where that is known: the Service's address
// works only once kube-proxy does, and nothing orders the two.
func connect() (kubernetes.Interface, error) {
	if host, port, err := net.SplitHostPort(os.Getenv("CONTROL_PLANE_ENDPOINT")); err == nil {
		os.Setenv("KUBERNETES_SERVICE_HOST", host)
		os.Setenv("KUBERNETES_SERVICE_PORT", port)
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// check ends the agent: the kubelet starts it again, after a pause that grows.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
