package agent

import (
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/vishvananda/netlink"
	core "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

const configFile = "/etc/cni/net.d/10-node.conflist"

// A pair of interfaces for every pod, addresses out of the node's own range, and host ports.
const configFormat = `{
  "cniVersion": "0.4.0",
  "name": "node",
  "plugins": [
    {
      "type": "ptp",
      "mtu": %d,
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "routes": [{ "dst": "0.0.0.0/0" }],
        "ranges": [[{ "subnet": %q }]]
      }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
`

// network is what this node knows of pods: where its own live, and the way to the other nodes'.
type network struct {
	node string
	mtu  int
}

func newNetwork(node, podSubnet string) (*network, error) {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return nil, fmt.Errorf("eth0: %w", err)
	}
	return &network{node, link.Attrs().MTU}, masquerade(podSubnet)
}

// masquerade gives packets that leave the pods' network their node's address: nobody outside
// knows the way back to a pod.
func masquerade(podSubnet string) error {
	rule := []string{"POSTROUTING", "-s", podSubnet, "!", "-d", podSubnet, "-j", "MASQUERADE"}
	iptables := func(action string) error {
		output, err := exec.Command("iptables", append([]string{"-w", "-t", "nat", action}, rule...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("iptables %s %v: %w: %s", action, rule, err, output)
		}
		return nil
	}
	if iptables("-C") == nil {
		return nil
	}
	return iptables("-A")
}

func (n *network) watch(factory informers.SharedInformerFactory) error {
	_, err := factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.update(object.(*core.Node)) },
		UpdateFunc: func(_, object any) { n.update(object.(*core.Node)) },
		DeleteFunc: func(object any) {
			if node, ok := object.(*core.Node); ok {
				n.remove(node)
			}
		},
	})
	return err
}

func (n *network) update(node *core.Node) {
	if node.Spec.PodCIDR == "" {
		return // the controller-manager has yet to give it one
	}
	var err error
	if node.Name == n.node {
		err = n.configure(node.Spec.PodCIDR)
	} else if route := routeTo(node); route != nil {
		err = netlink.RouteReplace(route)
	}
	if err != nil {
		log.Printf("node %s: %v; tried again at its next change", node.Name, err)
	}
}

func (n *network) remove(node *core.Node) {
	if route := routeTo(node); route != nil {
		_ = netlink.RouteDel(route)
	}
}

// configure writes the file that tells containerd how to connect a pod; the node is ready from then on.
func (n *network) configure(podCIDR string) error {
	config := fmt.Sprintf(configFormat, n.mtu, podCIDR)
	if old, err := os.ReadFile(configFile); err == nil && string(old) == config {
		return nil
	}
	// containerd watches the folder, and must never see half a file.
	unfinished := filepath.Join(filepath.Dir(configFile), ".unfinished")
	if err := os.WriteFile(unfinished, []byte(config), 0o644); err != nil {
		return err
	}
	log.Printf("pods of this node: %s", podCIDR)
	return os.Rename(unfinished, configFile)
}

// routeTo leads to the pods of another node; nil while that has no address or no range.
func routeTo(node *core.Node) *netlink.Route {
	_, pods, err := net.ParseCIDR(node.Spec.PodCIDR)
	if err != nil {
		return nil
	}
	for _, address := range node.Status.Addresses {
		if ip := net.ParseIP(address.Address); address.Type == core.NodeInternalIP && ip.To4() != nil {
			return &netlink.Route{Dst: pods, Gw: ip}
		}
	}
	return nil
}
