package config

import (
	"strings"
	"testing"
)

func TestEnvName(t *testing.T) {
	for key, want := range map[string]string{
		"serverPort": "METAQ_SERVER_PORT", "dataPath": "METAQ_DATA_PATH", "dashboardHttpPort": "METAQ_DASHBOARD_HTTP_PORT",
		"stat": "METAQ_STAT", "zk.zkRoot": "METAQ_ZK_ZK_ROOT",
	} {
		if got := envName(key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

func TestEnv_Errors(t *testing.T) {
	for variable, says := range map[string]string{
		"METAQ_SERVER_PROT=1": "METAQ_SERVER_PROT, which is no key; did you mean METAQ_SERVER_PORT?",
		"METAQ_STAT=perhaps":  `METAQ_STAT: stat: "perhaps" is neither true nor false`,
		"METAQ_=1":            "METAQ_, which is no key",
	} {
		if _, err := Load("", []string{variable}, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", variable, err, says)
		}
	}
}

// A container that runs beside a service called "metaq" or "metaq-server" finds these in its environment.
func TestEnv_LinksOfServicesAreNoSettings(t *testing.T) {
	c, err := Load("", []string{
		"METAQ_SERVICE_HOST=10.0.0.1", "METAQ_SERVICE_PORT=8123", "METAQ_SERVICE_PORT_HTTP=8120", "METAQ_PORT=tcp://10.0.0.1:8123",
		"METAQ_PORT_8123_TCP=tcp://10.0.0.1:8123", "METAQ_PORT_8123_TCP_PROTO=tcp", "METAQ_PORT_8123_TCP_PORT=8123", "METAQ_PORT_8123_TCP_ADDR=10.0.0.1",
		"METAQ_SERVER_PORT=tcp://10.0.0.1:8123", "METAQ_SERVER_SERVICE_HOST=10.0.0.1", "METAQ_SERVER_PORT_8123_TCP_ADDR=10.0.0.1",
	}, nil)
	if err != nil || c.Port != 8123 {
		t.Errorf("%+v, %v", c, err)
	}
}
