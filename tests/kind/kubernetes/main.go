// Every program of a Kubernetes node in one binary, which does what it is called.
//
// Apart, they would be linked nine times, and fill an image with 700 MB of much the same packages.
// Only the program asked for is constructed: constructing one registers its flags.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // for CronJobs with a time zone

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // for kubectl
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubeadmerrors "k8s.io/kubernetes/cmd/kubeadm/app/util/errors"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"recipe.local/kubernetes/agent"
)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		electNobody()
		run(controllers.NewControllerManagerCommand())
	case "kube-scheduler":
		electNobody()
		run(scheduler.NewSchedulerCommand())
	case "kube-proxy":
		run(proxy.NewProxyCommand())
	case "kubelet":
		run(kubelet.NewKubeletCommand(context.Background()))
	case "kubeadm":
		kubeadmerrors.HandleError(kubeadm.Run())
	case "kubectl":
		// The command reads its settings while it is constructed, and logs that.
		_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	case "etcd":
		// A cluster for tests need not outlive its machine, and a busy disk holds up every write.
		etcdmain.Main(append(os.Args, "--unsafe-no-fsync"))
	case "node-agent":
		agent.Run()
	default:
		fmt.Fprintf(os.Stderr, "%s: no program of Kubernetes; call this by the name of one\n", name)
		os.Exit(2)
	}
}

// electNobody takes up to six seconds off a cluster's start: kubeadm asks for an election, whose
// candidates try every two seconds, from before there is an API server. These nodes make clusters
// with one control plane, where there is nobody to elect.
func electNobody() {
	os.Args = append(os.Args, "--leader-elect=false")
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}
