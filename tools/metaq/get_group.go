package main

import (
	"context"

	"github.com/metaq/metaq/client"
)

// consume prints what a consumer of a group is given in a cluster, until -n messages were printed or ctx ends. A message is done when it is written to
// standard output.
func consume(ctx context.Context, a *app, o *getOptions) (err error) {
	cluster, err := a.openCluster(ctx)
	if err != nil {
		return err
	}
	err = cluster.needMasters()
	cluster.close()
	if err != nil {
		return err
	}
	c, err := client.NewConsumer(a.clientAddress(), o.group, []string{string(o.topic)}, client.WithStart(o.from.start()), client.WithCommitEvery(commitEvery))
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		if closeErr := c.Close(closing); err == nil {
			err = closeErr
		}
	}()
	printer, printed := newPrinter(a.out, o.output), int64(0)
	reading, enough := context.WithCancel(ctx)
	defer enough()
	err = c.Run(reading, func(_ context.Context, m client.Received) error {
		err := printer.print(message{
			topic: m.Topic, broker: &m.Broker, partition: m.Partition, offset: m.Offset, next: m.Next, id: m.ID, attribute: m.Attribute, payload: m.Body,
		})
		if printed++; printed == o.count {
			enough()
		}
		if err != nil {
			return err
		}
		return printer.flush()
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// start is the place as a consumer takes it.
func (p place) start() client.Start {
	switch p.kind {
	case atLatest:
		return client.FromLatest()
	case atOffset:
		return client.FromOffset(p.offset)
	case atTime:
		return client.FromTime(p.time)
	}
	return client.FromEarliest()
}
