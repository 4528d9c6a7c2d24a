#!/usr/bin/perl

# Why: logs are rotated while everything runs, and no record may be lost or
# doubled over it.
#
# LOCKBOX_ROTATIONS is the number of rotations (20).

use strict;
use warnings;

use JSON::PP ();

use Test::Lockbox;

my $ROTATIONS = $ENV{LOCKBOX_ROTATIONS} // 20;
my $CLIENTS = 3;

my $t = Test::Lockbox->new;
my $dir = $t->testdir;

$t->redis;
$t->upstream(handler => sub { return [ 200, {}, 'ok' ] });
$t->write_conf($t->conf(workers => 2));
$t->run;

my $grant = $t->grant(life => 3600);

# Asks again and again, each time for another path, until there is a file
# "enough"; writes down how many were answered.
sub ask_on {
    my ($number) = @_;

    my $connection = $t->http_connect;
    my $count = 0;

    until ($t->has_file('enough')) {
        my $path = "/tenants/acme/mail/$number-" . ++$count;
        $connection->request('GET', $path, keepalive => 1, token => $grant);
        my $response = $connection->response;

        die "$path: ", $response->body, "\n" if $response->status != 200;
        $connection = $t->http_connect
            if ($response->header('connection') // '') eq 'close';
    }

    $t->write_file("asked.$number", $count);
}

my @clients = map {
    my $number = $_;
    $t->start_process("client$number", code => sub { ask_on($number) });
} 1 .. $CLIENTS;

my @files;

for my $rotation (1 .. $ROTATIONS) {
    # so that there is something in each of them
    $t->wait_for(sub { -s "$dir/audit.log" }, undef, 'records');

    push @files, "audit.log.$rotation";
    rename "$dir/audit.log", "$dir/$files[-1]" or die "rename: $!\n";
    $t->signal('USR1');
    $t->wait_for(sub { $t->has_file('audit.log') }, undef, 'a new file');
}

$t->write_file('enough', '');
$t->wait_for(sub { !$_->running }, undef, $_->name . ' to end') for @clients;
$t->forget($_) for @clients;
is(join(' ', map { $_->status } @clients), join(' ', (0) x $CLIENTS),
   'every request was answered');

ok($t->stop, 'nginx stops');

my (%records, $broken);

for my $line (map { $t->read_file($_) =~ /([^\n]*)\n?/g }
              @files, 'audit.log')
{
    next if $line eq '';

    my $record = eval { JSON::PP->new->utf8->decode($line) };
    $broken .= "$line\n", next unless $record;

    my ($number) = $record->{'url.path'} =~ m{/mail/(.*)};
    $records{$number} .= $record->{'event.type'} . ' ';
}

is($broken, undef, 'every line is a record');

my @asked = map {
    my $number = $_;
    map { "$number-$_" } 1 .. $t->read_file("asked.$number");
} 1 .. $CLIENTS;

cmp_ok(scalar @asked, '>=', $ROTATIONS, 'there was load');
is_deeply([ grep { ($records{$_} // 'nothing') ne 'start end ' } @asked ], [],
          'each of ' . @asked . ' requests is there once, start and end')
    or diag join ', ', map { "$_: " . ($records{$_} // 'nothing') }
            grep { ($records{$_} // '') ne 'start end ' } @asked;
is(scalar keys %records, @asked, 'and no other');

done_testing;
