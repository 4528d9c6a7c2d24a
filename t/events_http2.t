#!/usr/bin/env perl

# Why: with HTTP/2 many streams share a connection, and what one has sent may
# lie in a queue longer than its request lives.  Each must end alone, and be
# told for itself.

use strict;
use warnings;

use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Events;
use Test::Lockbox::Http2;

my $t = Test::Lockbox->new;

begin($t, server => 'listen 127.0.0.1:%%PORT_8443%% default_server http2;',
      directives => { lockbox_streams => '200 person=100',
                      lockbox_notify => '/lockbox/notify' });

my $client = Test::Lockbox::Http2->new($t->port(8443));

side_by_side();
cancelled();
slow();
ended();
many();
reload();

done_testing();


sub listen_on {
    my ($connection, $who, %options) = @_;

    my $query = $options{query} ? "?$options{query}" : '';
    my $id = $connection->request('GET', $EVENTS . $query,
        token => $options{token} // token_of($who),
        headers => { accept => 'text/event-stream' });

    until_body($connection, $id, qr/^retry: \d+\n/) if !$options{unread};

    return $id;
}

sub until_body {
    my ($connection, $id, $pattern) = @_;

    until ($connection->{streams}{$id}{body} =~ $pattern) {
        $connection->read_frame or die "the connection is closed\n";
        die "the stream has ended\n" if $connection->{streams}{$id}{done};
    }

    return $connection->{streams}{$id};
}

# The events that have come on a stream.
sub told {
    my ($connection, $id) = @_;

    return map { JSON::PP->new->utf8->decode($_)->{subject} }
               $connection->{streams}{$id}{body} =~ /^data: (.*)$/mg;
}

sub side_by_side {
    my $manager = listen_on($client, 'manager');
    my $customer = listen_on($client, 'other-customer');

    is($client->{streams}{$manager}{headers}{'content-type'},
       'text/event-stream', 'a stream by HTTP/2');

    my @ids = (file(), file(tenant => 'globex'));
    until_body($client, $manager, qr/\Q$ids[1]\E.*\n\n/);
    until_body($client, $customer, qr/\Q$ids[1]\E.*\n\n/);

    is_deeply([ told($client, $manager) ], \@ids, 'one is told of all');
    is_deeply([ told($client, $customer) ], [ $ids[1] ],
              '... and another one of what is his (W12)');

    $client->cancel($_) for $manager, $customer;
}

sub cancelled {
    my ($gone, $other) = map { listen_on($client, 'manager') } 1 .. 2;

    $client->cancel($gone);
    $client->sync;

    my $id = file();
    until_body($client, $other, qr/\Q$id\E/);
    is_deeply([ told($client, $gone) ], [], 'who leaves is told nothing');
    $client->cancel($other);
    $client->sync;
    is(outcome(ask('manager', 'GET', $EVENTS)), '200 ok', 'and others live');
}

# The window of a stream is full, or that of the connection is; then the
# client goes, or reads on.
sub slow {
    redis('EVAL', <<'EOF_LUA', 0);
local time = redis.call('TIME')
for i = 1, 2000 do
    redis.call('XADD', 'lockbox:events', '*', 'event', 'filed',
               'tenant', 'acme',
               'id', ('01980000-0000-7000-8000-%012d'):format(i),
               'at', '1', 'iss', 'i',
               'sub', ('s'):rep(200), 'state', 'approved', 'version', '1',
               'engineer_iss', 'i', 'engineer_sub', 's')
end
EOF_LUA

    my $id = file();

    for my $way ('resets the stream', 'closes the connection') {
        my $slow = Test::Lockbox::Http2->new($t->port(8443));
        my @streams = map {
            listen_on($slow, 'manager', query => 'cursor=0-0', unread => 1)
        } 1 .. 3;

        # what fits in the windows is there, and nothing more can be
        $slow->read_bytes(60_000) ne '' or die;
        is(outcome(ask('manager', 'GET', $EVENTS)), '200 ok',
           'others are served');

        if ($way =~ /resets/) {
            $slow->cancel($_) for @streams;
        }

        $slow->close;
        file();
        pass("who does not read $way");
    }

    my $patient = Test::Lockbox::Http2->new($t->port(8443));
    my $stream = listen_on($patient, 'manager', query => 'cursor=0-0',
                           unread => 1);

    until_body($patient, $stream, qr/\Q$id\E.*\n\n/);

    my @told = told($patient, $stream);
    my %seen = map { $_ => 1 } @told;
    is(scalar @told, scalar keys %seen, 'who reads on is told once');
    is(scalar(grep { /^01980000-/ } @told), 2000, '... of everything');
    $patient->close;
}

sub ended {
    my (undef, $short) = ending(sub {
        my ($token) = @_;

        return eval { listen_on($client, 'manager', token => $token) };
    });
    my $long = listen_on($client, 'manager');
    my $response = $client->response($short);

    ok($response->{complete}, 'the end of the token ends a stream');
    ok(!$response->{reset}, '... as a whole');

    my $id = file();
    until_body($client, $long, qr/\Q$id\E/);
    pass('... and no other of the connection');
    $client->cancel($long);
}

sub many {
    my @connections = map { Test::Lockbox::Http2->new($t->port(8443)) } 1 .. 2;
    my @streams = map {
        my $connection = $_;
        map { [ $connection, listen_on($connection, 'manager') ] } 1 .. 50
    } @connections;

    my $id = file();
    until_body(@$_, qr/\Q$id\E/) for @streams;
    pass('a hundred streams on two connections');

    my $full = $client->response($client->request('GET', $EVENTS,
        token => token_of('manager'),
        headers => { accept => 'text/event-stream' }));
    is($full->{headers}{':status'} // $full->status, 429,
       'one more is too much');

    $_->close for @connections;
}

sub reload {
    $t->wait_for(sub {
        my $head = listen_as('manager');
        my $status = $head->head->status;
        $head->close;
        return $status == 200;
    }, undef, 'places that are left');

    my $connection = Test::Lockbox::Http2->new($t->port(8443));
    my @streams = map { listen_on($connection, 'manager') } 1 .. 3;
    my @old = $t->workers;

    $t->reload;
    ok($connection->response($_)->{complete}, 'a reload ends a stream')
        for @streams;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, undef,
                 'the old worker to go');
}
