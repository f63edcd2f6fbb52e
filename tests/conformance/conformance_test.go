// Package conformance runs the Gateway API's public conformance suite against Weft, as the suite's users are meant to.
//
// The tests are the suite's own, all of them that are for a mesh, with the time limits that it sets. What stands here is who is
// tested, what it claims to do, and how its namespaces become part of the mesh. The cluster is the one of KUBECONFIG.
//
// WEFT_VERSION: the version that the report names. Flags are the suite's, for example -report-output and -run-test.
package conformance

import (
	"os"
	"testing"

	published "sigs.k8s.io/gateway-api/conformance"
	reports "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// Beside the features of a mesh. The suite has tests for a mesh that also ask for these features of routes in general, and leaves
// such a test out where they are not claimed.
var claimed = []features.FeatureName{
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
}

func TestConformance(t *testing.T) {
	options := published.DefaultOptions(t)
	options.ConformanceProfiles = []suite.ConformanceProfileName{
		suite.MeshHTTPConformanceProfileName,
		suite.MeshGRPCConformanceProfileName,
	}
	mesh := features.SetsToNamesSet(features.MeshCoreFeatures, features.MeshExtendedFeatures)
	options.SupportedFeatures = append(mesh.UnsortedList(), claimed...)
	if options.NamespaceLabels == nil {
		options.NamespaceLabels = map[string]string{"weft.dev/inject": "enabled"}
	}
	options.Implementation = reports.Implementation{
		Organization: "weft",
		Project:      "weft",
		Version:      os.Getenv("WEFT_VERSION"),
		// The suite wants something here; the project has no page that could be named.
		URL:     "not published",
		Contact: []string{"not published"},
	}
	published.RunConformanceWithOptions(t, options)
}
