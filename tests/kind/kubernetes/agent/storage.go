package agent

import (
	"context"
	"log"
	"os"
	"path/filepath"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

const (
	provisioner = "recipe.local/node-disk"
	volumesRoot = "/var/local-volumes"

	// Written by the scheduler and the controller-manager on a claim, by a provisioner on a volume.
	selectedNode  = "volume.kubernetes.io/selected-node"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
	askedOf       = "volume.kubernetes.io/storage-provisioner"
)

// storage makes a directory of this node's disk a volume, for claims whose pod was put on this node.
type storage struct {
	ctx    context.Context
	node   string
	client kubernetes.Interface
}

func newStorage(ctx context.Context, node string, client kubernetes.Interface) *storage {
	return &storage{ctx, node, client}
}

func (s *storage) watch(factory informers.SharedInformerFactory) error {
	claims := factory.Core().V1().PersistentVolumeClaims().Informer()
	volumes := factory.Core().V1().PersistentVolumes().Informer()
	if _, err := claims.AddEventHandler(onChange(s.provision)); err != nil {
		return err
	}
	_, err := volumes.AddEventHandler(onChange(s.reclaim))
	return err
}

func onChange[T any](act func(T)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { act(object.(T)) },
		UpdateFunc: func(_, object any) { act(object.(T)) },
	}
}

func (s *storage) provision(claim *core.PersistentVolumeClaim) {
	if claim.Spec.VolumeName != "" || claim.Annotations[askedOf] != provisioner || claim.Annotations[selectedNode] != s.node {
		return
	}
	volume := s.volumeFor(claim)
	path := volume.Spec.HostPath.Path
	err := os.MkdirAll(path, 0o777)
	if err == nil {
		err = os.Chmod(path, 0o777) // whatever user the pod runs as, and whatever this one's umask
	}
	if err == nil {
		_, err = s.client.CoreV1().PersistentVolumes().Create(s.ctx, volume, meta.CreateOptions{})
	}
	if err != nil && !errors.IsAlreadyExists(err) {
		log.Printf("claim %s/%s: %v", claim.Namespace, claim.Name, err)
	}
}

func (s *storage) volumeFor(claim *core.PersistentVolumeClaim) *core.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	class := ""
	if claim.Spec.StorageClassName != nil {
		class = *claim.Spec.StorageClassName
	}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{provisionedBy: provisioner, selectedNode: s.node},
		},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: core.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: core.PersistentVolumeSource{
				HostPath: &core.HostPathVolumeSource{Path: filepath.Join(volumesRoot, name)},
			},
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			NodeAffinity: onNode(s.node),
		},
	}
}

func onNode(name string) *core.VolumeNodeAffinity {
	return &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{{
		MatchExpressions: []core.NodeSelectorRequirement{{
			Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{name},
		}},
	}}}}
}

// reclaim removes a volume of this node whose claim is gone.
func (s *storage) reclaim(volume *core.PersistentVolume) {
	if volume.Status.Phase != core.VolumeReleased || volume.DeletionTimestamp != nil ||
		volume.Annotations[provisionedBy] != provisioner || volume.Annotations[selectedNode] != s.node ||
		volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
		return
	}
	err := os.RemoveAll(filepath.Join(volumesRoot, volume.Name))
	if err == nil {
		err = s.client.CoreV1().PersistentVolumes().Delete(s.ctx, volume.Name, meta.DeleteOptions{})
	}
	if err != nil && !errors.IsNotFound(err) {
		log.Printf("volume %s: %v", volume.Name, err)
	}
}
