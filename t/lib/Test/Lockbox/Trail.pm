package Test::Lockbox::Trail;

# The trail: what the streams of tenants have, beside what the audit log has.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();
use Test::More ();

use Test::Lockbox::Admin;

our @EXPORT = qw(
    $SHIPS stream_key streams trail entries lines_of workers complete complete_last
);

# What a worker sends to Redis, whole or by the digest of the script.
our $SHIPS = qr/^EVAL(?: -- Appends|SHA [0-9a-f]{40} 0 [0-9a-f]{16}-\d)/;

my $JSON = JSON::PP->new->utf8;


sub stream_key {
    my ($tenant) = @_;

    return "lockbox:{$tenant}:audit";
}

# The tenants that have a stream, sorted.
sub streams {
    return sort map { /^lockbox:\{(.*)\}:audit$/ ? $1 : () }
                @{ redis('KEYS', 'lockbox:*') };
}

# The records of a stream: hashes of worker, seq, record, and the id and ms of
# the entry that they came in.
sub trail {
    my ($tenant) = @_;

    return map { records_in($_) }
           @{ redis('XRANGE', stream_key($tenant), '-', '+') };
}

sub records_in {
    my ($entry) = @_;

    my ($id, $fields) = @$entry;
    my %entry = @$fields;
    my ($ms) = split /-/, $id;
    my $seq = $entry{seq};

    return map { { worker => $entry{worker}, seq => $seq++, record => $_,
                   id => $id, ms => $ms } }
           split /\n/, $entry{records}, -1;
}

# Their records, decoded.
sub entries {
    return map { $JSON->decode($_->{record}) } trail(@_);
}

# The lines of the audit log that are of a tenant.
sub lines_of {
    my ($world, $tenant) = @_;

    return grep { ($JSON->decode($_)->{'organization.id'} // '') eq $tenant }
           split /\n/, $world->read_file('audit.log');
}

# The workers that Redis knows.
sub workers {
    return @{ redis('HKEYS', 'lockbox:workers') };
}

# Waits until the stream has the last line of the log that is of the tenant;
# the lines of the log.
sub complete_last {
    my ($tenant) = @_;

    settle();

    my $world = $Test::Lockbox::Admin::World;
    my @lines = lines_of($world, $tenant);

    $world->wait_for(sub { grep { $_->{record} eq $lines[-1] } trail($tenant) },
                     undef, "the trail of $tenant");

    return @lines;
}

# The stream is what the log has of the tenant.
sub complete {
    my ($tenant, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my @lines = complete_last($tenant);

    Test::More::is(join("\n", map { $_->{record} } trail($tenant)),
                   join("\n", @lines), $name);
}


1;
