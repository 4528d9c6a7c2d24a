package Targets;

# Sends the targets of targets.py to a gate, and lets it judge what came of
# them.

use strict;
use warnings;

use List::Util qw(min);

use Test::Lockbox;
use Test::Lockbox::Conf;
use Lockbox::Jose qw(json_decode);
use Wire;

my %PORTS = (1 => 8080, '1-unmerged' => 8082, 2 => 8083, '2-unmerged' => 8084);

my $BATCH = 5000;
my $STREAMS = 50;

# What may end a connection: what nginx calls a bad request.
my $LONELY = qr/[\0-\x20\x7f]|%(?![0-9A-Fa-f]{2})|%00|\A(?!\/)|\A\z/;

my $SERVER = <<"EOF_SERVER";
large_client_header_buffers  4 64k;
keepalive_requests           1000000;

location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    lockbox          on;
    lockbox_tenant   \$tenant;
    lockbox_service  \$service;
$Wire::PROXY
}

location / {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  door;
$Wire::PROXY
}
EOF_SERVER


# Sends so many of that seed; returns whether all was right, and a report.
sub compare {
    my (%options) = @_;

    my $t = start();
    my $dir = $t->testdir;

    my ($failed) = Wire::python("$dir/targets", 'targets.py', 'make',
                                @options{qw(seed count)});
    die "no targets\n" if $failed;

    my @targets = map { [ split / / ] } split /\n/, $t->read_file('targets');
    my $grant = $t->grant(life => 14400, access => access());

    open my $seen, '>', "$dir/seen" or die "$dir/seen: $!\n";

    while (my @batch = splice @targets, 0, $BATCH) {
        print {$seen} observe($t, $grant, @batch);
    }

    close $seen or die "$dir/seen: $!\n";

    my ($different, $report) = Wire::python(undef, 'targets.py', 'judge',
                                            "$dir/targets", "$dir/seen");

    return (!$different, $report);
}

sub access {
    my ($failed, $json) = Wire::python(undef, 'targets.py', 'access');
    die "no access items\n" if $failed;

    return json_decode($json);
}

# An nginx that has one server a wire.
sub start {
    my $t = Test::Lockbox->new;

    $t->redis;
    Wire::upstream($t);

    $t->write_conf($t->conf(
        http => join("\n", $Wire::UPSTREAM,
                     map { server($_) } grep { $_ ne '1' } sort keys %PORTS),
        locations => $SERVER,
        directives => { lockbox_redis => '%%REDIS%% timeout=20s' }));
    $t->run;

    return $t;
}

sub server {
    my ($wire) = @_;

    return Test::Lockbox::Conf::block('server',
        "listen 127.0.0.1:%%PORT_$PORTS{$wire}%%"
            . ($wire =~ /^2/ ? ' http2;' : ';'),
        'server_name localhost;',
        $wire =~ /unmerged/ ? 'merge_slashes off;' : '',
        $SERVER);
}

# Sends a batch and returns the lines of what was seen of it.
sub observe {
    my ($t, $grant, @batch) = @_;

    my %answers = map { send_over($t, $_, $grant, @batch) } keys %PORTS;
    my %paths = judged($t);
    my (%reached, %judged, @lines);

    for my $line (Wire::new_lines($t, 'reached')) {
        my ($case, $request, $target) = split ' ', $line;

        if (!exists $answers{$case}) {
            push @lines, "stray the tenant API got $line";
            next;
        }

        push @{ $reached{$case} }, $target // '';
        push @{ $judged{$case} }, @{ delete $paths{$request} // [] };
    }

    push @lines, map({ "stray let through, but nothing arrived: $_\n" }
                     map { @$_ } values %paths);
    push @lines, map { join(' ', $_, @{ $answers{$_} },
                            list($reached{$_}), list($judged{$_})) . "\n" }
                     sort keys %answers;

    return @lines;
}

sub list {
    my ($values) = @_;

    return $values ? join ',', @$values : '-';
}

# The paths, in hexadecimal, that intents since the last call are about, by
# the id of their request.
sub judged {
    my ($t) = @_;

    my %paths;

    for (grep { /"event.type":"start"/ } Wire::new_lines($t, 'audit.log')) {
        my ($path) = /"url.path":("(?:[^"\\]|\\.)*")/;
        my ($request) = /"event.id":"([^"]*)"/;
        push @{ $paths{$request} }, unpack 'H*', $path;
    }

    return %paths;
}

# Sends those of a wire: status and word by number.
sub send_over {
    my ($t, $wire, $grant, @batch) = @_;

    my $port = $t->port($PORTS{$wire});
    my @ours = grep { $_->[2] eq $wire } @batch;
    my %answers;

    my $take = sub {
        my ($case, $response) = @_;

        $answers{ $case->[0] } = [ $response->status // '000',
                                   Wire::word($response) ] if $response;
    };

    my @lonely = grep { target($_) =~ $LONELY } @ours;
    my @others = grep { target($_) !~ $LONELY } @ours;
    my $take_lonely = sub { $take->($lonely[ $_[0] ], $_[1]) };
    my $take_others = sub { $take->($others[ $_[0] ], $_[1]) };

    my $request = $wire =~ /^2/ ? \&request_2 : \&request_1;
    my @first = map { $request->($grant, $_) } @lonely;
    my @rest = map { $request->($grant, $_) } @others;

    if ($wire =~ /^2/) {
        Wire::multiplexed($port, 1, \@first, $take_lonely);
        Wire::multiplexed($port, $STREAMS, \@rest, $take_others);
    } else {
        Wire::alone($port, \@first, $take_lonely);
        Wire::pipelined($port, \@rest, $take_others);
    }

    return %answers;
}

sub request_1 {
    my ($grant, $case) = @_;

    return 'GET ' . target($case) . " HTTP/1.1\r\n"
           . "Host: localhost\r\nX-Case: $case->[0]\r\n"
           . "Authorization: Bearer $grant\r\n\r\n";
}

sub request_2 {
    my ($grant, $case) = @_;

    return [ 'GET', target($case), token => $grant,
             headers => [ [ 'x-case', $case->[0] ] ] ];
}

sub target {
    my ($case) = @_;

    return pack 'H*', $case->[3] // '';
}


1;
