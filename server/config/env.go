package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

const envPrefix = "METAQ_"

// clientVariables are for the tool, not for the broker.
var clientVariables = map[string]bool{"METAQ_BROKER": true}

// linkVariables are what container systems set for every service that runs beside: one called "metaq" gives METAQ_PORT=tcp://10.0.0.1:8123,
// METAQ_SERVICE_HOST and METAQ_PORT_8123_TCP_ADDR, and one called "metaq-server" even METAQ_SERVER_PORT=tcp://...
var linkVariables = regexp.MustCompile(`^METAQ_\w*(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP)\w*)=|^METAQ_\w*PORT=(tcp|udp)://`)

// loadEnv takes the METAQ_ variables. Nobody sets one for nothing, so one that is no key is an error.
func (c *Config) loadEnv(env []string) error {
	byVariable := make(map[string]*key[Config], len(keys))
	for i := range keys {
		byVariable[envName(keys[i].name)] = &keys[i]
	}
	var errs []error
	for _, v := range env {
		name, value, ok := strings.Cut(v, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || clientVariables[name] || linkVariables.MatchString(v) {
			continue
		}
		k := byVariable[name]
		if k == nil {
			var names []string
			for n := range byVariable {
				names = append(names, n)
			}
			errs = append(errs, fmt.Errorf("the environment has %s, which is no key%s", name, suggest(name, names)))
			continue
		}
		if err := assign(c, c, k, k.name, value, name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// envName is the variable of a key: serverPort -> METAQ_SERVER_PORT, zk.zkRoot -> METAQ_ZK_ZK_ROOT.
func envName(key string) string {
	var b strings.Builder
	b.WriteString(envPrefix)
	lower := false
	for _, r := range key {
		if r == '.' {
			r, lower = '_', false
		}
		if unicode.IsUpper(r) && lower {
			b.WriteByte('_')
		}
		lower = unicode.IsLower(r)
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}
