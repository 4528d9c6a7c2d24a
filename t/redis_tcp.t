#!/usr/bin/perl

# Redis on another machine is reached by TCP, where a connection takes its
# time, is refused, or never comes about.

use strict;
use warnings;

use IO::Socket::INET;

use Test::Lockbox;

my $PORT = 6379;

my $t = Test::Lockbox->new;
my $dead = $t->grant(live => 0);

$t->upstream;
$t->write_conf($t->conf(directives => {
    lockbox_redis => "127.0.0.1:%%PORT_$PORT%% connect_timeout=200ms",
}));


# Nobody listens

$t->run;
refused_for('cannot connect');
answered();
$t->stop;


# Nobody answers: Linux drops what a full queue has no room for

my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => $t->port($PORT), Listen => 1,
    ReuseAddr => 1) // die "listen: $!\n";
my @queue = map { start_to_connect() } 1 .. 4;

$t->run;
refused_for('no reply in time');
close $_ for $listener, @queue;
answered();

done_testing();


sub outcome {
    my ($token) = @_;

    my $response = $t->http('GET', '/tenants/acme/mail/inbox',
                            token => $token);

    return $response->status == 200
        ? '200' : $response->status . ' ' . $response->json->{code};
}

sub refused_for {
    my ($fault) = @_;

    is(outcome($dead), '503 store_unavailable', "$fault: refused");
    like($t->read_file('error.log'), qr/Redis is out of service: $fault/,
         '... and on record');
}

# By a Redis that is there at last.
sub answered {
    $t->redis(port => $PORT);

    my $grant = $t->grant;

    $t->wait_for(sub { outcome($grant) eq '200' }, undef, 'the grant');
    pass('... until there is a Redis');
    is(outcome($dead), '401 not_live', '... that is asked');

    $t->redis_stop;
}

sub start_to_connect {
    return IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $t->port($PORT), Blocking => 0)
        // die "connect: $!\n";
}
