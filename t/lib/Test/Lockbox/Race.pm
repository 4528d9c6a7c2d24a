package Test::Lockbox::Race;

# Requests that meet: each is sent but for its last byte, on a connection that
# is open already, and then they are all let go.

use strict;
use warnings;

use Exporter qw(import);
use IO::Select;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

use Test::Lockbox::Http;
use Test::Lockbox::Process;

our @EXPORT_OK = qw(lane lanes call fire spin_until $RACE_SERVER);

# What the server of a race needs: connections that last, spread over its
# workers, and a way to ask whose one is.
our $RACE_SERVER = <<'EOF_CONF';
listen 127.0.0.1:%%PORT_8082%% reuseport;
keepalive_requests 1000000;
keepalive_timeout 600s;

location = /worker {
    return 200 $pid;
}
EOF_CONF


# A connection to that nginx.
sub lane {
    my ($world) = @_;

    my $lane = { world => $world };
    connect_lane($lane);

    return $lane;
}

# Connections to that many workers of it.
sub lanes {
    my ($world, $count) = @_;

    my %lanes;

    $world->wait_for(sub {
        my $lane = lane($world);
        $lanes{ $lane->{pid} } //= $lane;
        return keys %lanes == $count;
    }, undef, "connections to $count workers");

    return @lanes{ sort keys %lanes };
}

sub connect_lane {
    my ($lane) = @_;

    my $connection = $lane->{connection}
        = $lane->{world}->http_connect(port => 8082);

    # what is held back must not wait for an acknowledgement of the rest
    setsockopt $connection->socket, IPPROTO_TCP, TCP_NODELAY, 1
        or die "TCP_NODELAY: $!\n";

    $lane->{pid} = $connection->request('GET', '/worker', keepalive => 1)
                              ->response->body;
}

# An answer that ends the connection leaves the lane with another one to the
# same worker.
sub settle {
    my ($lane, $response) = @_;

    return if ($response->header('connection') // '') !~ /close/;

    my $pid = $lane->{pid};

    $lane->{world}->wait_for(sub {
        connect_lane($lane);
        return $lane->{pid} == $pid;
    }, undef, "a connection to worker $pid");
}

# One request, alone; the options are those of Test::Lockbox::Http.
sub call {
    my ($lane, $method, $uri, %options) = @_;

    return (fire([ $lane, $method, $uri, %options ]))[0];
}

# Lets the requests go, each [lane, method, uri, options of http()] and on a
# lane of its own.  "after" is the time in seconds that a request stays behind
# the one before it.  Returns the responses, each with the time it came.
sub fire {
    my (@requests) = @_;

    for my $request (@requests) {
        my ($lane, $method, $uri, %options) = @$request;
        my $bytes = Test::Lockbox::Http::request_bytes(
            $method, $uri, %options, keepalive => 1);

        $lane->{last} = chop $bytes;
        $lane->{connection}->asks($method, $uri, %options);
        $lane->{connection}->send($bytes);
    }

    for my $request (@requests) {
        my ($lane, undef, undef, %options) = @$request;

        spin_until(time + $options{after}) if $options{after};
        $lane->{connection}->send($lane->{last});
    }

    return responses(map { $_->[0] } @requests);
}

sub spin_until {
    my ($time) = @_;

    1 while time < $time;
}

# In the order of the lanes, read in the order in which they come.
sub responses {
    my (@lanes) = @_;

    my $select = IO::Select->new;
    my %lane;

    for my $lane (@lanes) {
        my $socket = $lane->{connection}->socket;

        $select->add($socket);
        $lane{$socket} = $lane;
    }

    while ($select->count) {
        my @ready = $select->can_read($Test::Lockbox::Process::Timeout)
            or die $select->count, " requests have no answer\n";

        for my $socket (@ready) {
            my $lane = $lane{$socket};

            $select->remove($socket);
            $lane->{response} = $lane->{connection}->response;
            $lane->{response}{came} = time;
            settle($lane, $lane->{response});
        }
    }

    return map { delete $_->{response} } @lanes;
}


1;
