package zkcoord

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
)

// Masters lists the brokers whose master is registered now, by id. A checksum that is not there, or is none, is 0.
func (d *Directory) Masters(ctx context.Context) ([]BrokerInfo, error) {
	names, err := namesBelow(ctx, d.session, d.layout.Brokers())
	if err != nil {
		return nil, err
	}
	var list []BrokerInfo
	for _, name := range names {
		id, err := strconv.Atoi(name)
		if err != nil || id < 0 {
			continue
		}
		data, _, err := d.session.Get(ctx, d.layout.Replica(Master(id)))
		if errors.Is(err, ErrNoNode) {
			continue // a broker that has stopped
		}
		if err != nil {
			return nil, err
		}
		addr, err := ParseAddress(data)
		if err != nil {
			continue // nobody can connect to it
		}
		sum, _, err := d.session.Get(ctx, d.layout.ConfigChecksum(id))
		if err != nil && !errors.Is(err, ErrNoNode) {
			return nil, err
		}
		checksum, _ := strconv.ParseUint(string(sum), 10, 32)
		list = append(list, BrokerInfo{ID: id, Addr: addr, Checksum: uint32(checksum)})
	}
	slices.SortFunc(list, func(a, b BrokerInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}
