#!/usr/bin/perl

# Why: what cannot be recorded must not happen, and what is recorded must stay
# readable, whatever the disk does; and once it is well again, so is the gate.

use strict;
use warnings;

use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my @HELP = qw(asked granted request);
my $json = JSON::PP->new->utf8;

my $t = Test::Lockbox->new;
my $dir = $t->testdir;

# Points audit.log somewhere else, and tells nginx.
sub point {
    my ($target) = @_;

    unlink "$dir/audit.log";
    symlink $target, "$dir/audit.log" or die "symlink: $!\n";
    $t->signal('USR1') if $t->has_file('nginx.pid');
}

# Waits until a live grant is answered so.
sub becomes {
    my ($status, $grant) = @_;

    $t->wait_for(sub { knock($grant)->status == $status }, undef,
                 "status $status");
}

# The records of a file, with "torn" for each line that is none.
sub lines {
    my ($file) = @_;

    return map { eval { $json->decode($_) } || 'torn' }
           $t->read_file($file) =~ /(.*)\n/g;
}


# A disk that is full

point("$dir/real.log");
begin($t);

my %id = (awaiting => file(), manager => file(), approved => approved(),
          ending => approved());
approve('manager', $id{manager});
my $grant = collect($id{approved});
let_through(knock($grant), 'before');

point('/dev/full');
becomes(503, $grant);

my $state = contents();
my $seen = $t->upstream_connections;

refused(knock($grant), 'audit_unavailable', 'access, on a full disk', @HELP);

for my $case (
    [ 'filing', sub { ask('engineer', 'POST', $REQUESTS,
                          json => filing()) } ],
    [ 'approve', sub { act('manager', 'approve', $id{awaiting},
                           { version => 1 }) } ],
    [ 'deny', sub { act('customer', 'deny', $id{manager},
                        { version => 2 }) } ],
    [ 'cancel', sub { act('engineer', 'cancel', $id{awaiting}) } ],
    [ 'policy', sub { ask('customer', 'PUT', '/lockbox/v1/tenants/acme/policy',
                          json => { version => 0, policy => {} }) } ],
    [ 'collect', sub { act('engineer', 'grant', $id{approved}) } ],
    [ 'complete', sub { act('engineer', 'complete', $id{ending}) } ],
    [ 'revoke', sub { act('customer', 'revoke', $id{ending}) } ],
) {
    my ($name, $step) = @$case;

    refused($step->(), 'audit_unavailable', "$name, on a full disk");
}

is_deeply(contents(), $state, 'Redis is as it was');
is($t->upstream_connections, $seen, 'and nothing arrived');

refused(knock(undef), 'no_token', 'what is refused stays refused');
is(act('engineer', 'show', $id{approved})->status, 200, 'reading goes on');

knock($grant) for 1 .. 50;
my %complaints;
$complaints{$_}++ for map { /^(\S+ \S+) .*could not be written to "(\S+)"/ }
                      split /\n/, $t->read_file('error.log');
is(delete $complaints{"$dir/audit.log"}, keys %complaints,
   'the error log says so');
is_deeply([ grep { $_ > 1 } values %complaints ], [], 'once a second at most');

point("$dir/real.log");
becomes(200, $grant);
is(outcome(act('manager', 'approve', $id{awaiting}, { version => 1 })),
   '200 ok', 'the workflow goes on as well');

settle();
is_deeply([ grep { $_ eq 'torn' } lines('real.log') ], [],
          'every line before and after is a record');
ok($t->stop, 'nginx stops');


# A file that may not grow: half a line is written, and stays alone

unlink "$dir/audit.log";
$t->write_file('audit.log',
               '{"old":"' . 'x' x 200_000 . qq("}\n{"half":"a li));
$t->run;

my ($worker) = $t->workers;

sub limit {
    my ($size) = @_;

    system('prlimit', '--pid', $worker, "--fsize=$size:unlimited") == 0
        or die "prlimit failed\n";
}

let_through(knock($grant), 'behind the half line of an earlier run');
settle();
is_deeply([ map { ref ? $_->{'event.type'} // 'old' : $_ } lines('audit.log') ],
          [ qw(old torn start end) ], 'its half line stays alone');

for my $room (1, 20, 100) {
    settle();
    my $before = () = lines('audit.log');
    my $reached = $t->upstream_connections;

    limit($room + -s "$dir/audit.log");
    refused(knock($grant), 'audit_unavailable', "$room bytes left", @HELP);
    refused(knock($grant), 'audit_unavailable', 'no byte left', @HELP);
    is($t->upstream_connections, $reached, "$room: nothing arrived");

    # the records of these come behind their responses
    settle();
    limit('unlimited');
    let_through(knock($grant), "$room: it recovers by itself");
    settle();

    my @new = lines('audit.log');
    splice @new, 0, $before;
    is_deeply([ map { ref ? $_->{'event.type'} : $_ } @new ],
              [ qw(torn start end) ], "$room: half a line, then records");
}

is_deeply([ $t->workers ], [ $worker ], 'the worker has survived all of it');
ok($t->stop, 'nginx stops');


# Several logs: all must take a record, but for the optional ones

sub with_logs {
    my (@logs) = @_;

    unlink map { "$dir/$_.log" } qw(audit first second);
    $t->write_conf($t->conf(directives => { lockbox_audit_log => \@logs }));
    $t->run;
}

with_logs("$dir/first.log", "$dir/second.log");
let_through(knock($grant), 'two logs');
settle();
is($t->read_file('first.log'), $t->read_file('second.log'), 'with one text');
is(scalar(lines('first.log')), 2, 'of intent and outcome');
$t->stop;

for my $logs ([ "$dir/first.log", '/dev/full' ],
              [ '/dev/full', "$dir/first.log" ])
{
    my $reached = $t->upstream_connections;

    with_logs(@$logs);
    refused(knock($grant), 'audit_unavailable', "@$logs", @HELP);
    is($t->upstream_connections, $reached, 'nothing arrived');
    $t->stop;
}

with_logs("$dir/first.log", '/dev/full optional');
let_through(knock($grant), 'an optional log that is full');
is(outcome(ask('engineer', 'POST', $REQUESTS, json => filing())), '201 ok',
   'refuses nothing');
settle();
is_deeply([ map { ref ? $_->{'event.type'} : $_ } lines('first.log') ],
          [ qw(start end) x 2 ], 'and the other one has it all');

done_testing;
