#!/usr/bin/perl

# Why: a tenant reads the trail instead of the audit log, so it must be what
# the log has of that tenant, to the byte, in order, and nothing of anybody
# else; and it must stay small whatever strangers do.  What happens when Redis
# is not well is in t/trail_faults.t, reading in t/admin_audit.t.

use strict;
use warnings;

use List::Util qw(sum);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Trail;

my $KEEP = 86_400;

my $t = Test::Lockbox->new;

begin($t, directives => { lockbox_retention => "${KEEP}s" });

whole();
others();
shared();
nobodys();
no_tokens();
strangers();
retention();
reload();
killed();
missing();
stopped();
bounded();
several();

done_testing();


# Everything that can be done, and some that cannot.
sub whole {
    my $id = approved();
    my $grant = collect($id);

    knock($grant);
    knock($grant, 'GET', '/tenants/acme/mail/' . 'x' x 3000,
          headers => { 'User-Agent' => "a\"\\\xff\xe2\x80\xae" });
    knock($grant, 'DELETE');
    knock($t->grant(live => 0));
    act('engineer', 'approve', file(), { version => 1 });
    act('customer', 'revoke', $id);
    knock($grant);
    make_due(file());
    $t->wait_for(sub { grep { $_->{'event.action'} eq 'lapsed' } records() },
                 undef, 'the sweep');

    complete('acme', 'everything is in the stream');

    my @entries = trail('acme');

    cmp_ok(scalar @entries, '>', 20, 'that is a lot');
    is_deeply([ map { $_->{seq} } @entries ], [ 1 .. @entries ],
              'numbered one by one');
    is(join(' ', workers()), $entries[0]{worker}, 'by one worker');
}

# What is done to one tenant, no other one learns.
sub others {
    my $before = trail('acme');

    file(tenant => 'globex');
    ask('other-customer', 'GET', "$REQUESTS/" . Test::Lockbox::Conf::uuid7());

    complete($_, "$_ has its own") for qw(acme globex);
    is(scalar(grep { $_->{record} !~ /"organization.id":"globex"/ }
              trail('globex')), 0, 'of globex, to globex');
    is(scalar(grep { $_->{record} !~ /"organization.id":"acme"/ }
              trail('acme')), 0, 'of acme, to acme');
    cmp_ok(scalar trail('acme'), '>', $before, 'who looked is on record');
}

# Redis is spared an entry for each record, and memory has a bound all the same.
sub shared {
    my $before = trail('acme');
    my $grant = $t->grant(live => 0);
    my @open = map { $t->http_start('GET', $MAIL, token => $grant) } 1 .. 100;

    $_->response for @open;
    complete('acme', 'many records at once');

    my @new = splice @{ [ trail('acme') ] }, $before;
    my %entries;
    push @{ $entries{ $_->{id} } }, length $_->{record} for @new;

    cmp_ok(scalar keys %entries, '<', @new / 2, '... share entries');
    is(scalar(grep { sum(@$_) + @$_ > 4096 } values %entries), 0,
       '... of 4 kB at most');
}

# A path can name anything.
sub nobodys {
    my @tenants = ('ghost', 'ac%20me', 'a%7Db', 'x' x 65, '-', '%2B');

    knock(undef, 'GET', "/tenants/$_/mail/x") for @tenants;
    ask('engineer', 'GET', "/lockbox/v1/tenants/ghost/requests/none");
    ask('nobody', 'GET', '/lockbox/v1/whoami');
    knock(undef);

    complete('acme', 'behind those');
    is_deeply([ streams() ], [ 'acme', 'globex' ],
              'what was only refused begins no stream');

    file(tenant => 'ghost');
    $t->wait_for(sub { trail('ghost') >= 2 }, undef, 'the stream of ghost');
    is((map { $_->{'event.action'} } entries('ghost'))[0], 'request',
       'a request does');
}

sub no_tokens {
    my $all = join "\n", map { $_->{record} }
                         map { trail($_) } qw(acme globex ghost);

    unlike($all, qr/eyJ|[Bb]earer/, 'A20: no token in any of it');
}

# Anybody can knock, for any tenant; it must not push out what was done.
sub strangers {
    my $before = trail('acme');

    knock(undef) for 1 .. 300;
    settle();

    my (@gaps, @others);

    $t->wait_for(sub {
        (undef, @others) = splice @{ [ entries('acme') ] }, $before - 1;
        @gaps = grep { $_->{'event.action'} eq 'gap' } @others;

        my $sum = @others - @gaps;
        $sum += $_->{'lockbox.lost'} for @gaps;
        return $sum == 300;
    }, undef, 'all 300, those who are there and those who are counted');

    cmp_ok(@others - @gaps, '<', 150, 'some of 300 strangers are there');
    cmp_ok(scalar @gaps, '<', 4, '... the others are counted');
    like($gaps[0]{$_}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, "... $_")
        for qw(@timestamp lockbox.lost_since lockbox.lost_until);
    cmp_ok($gaps[0]{'lockbox.lost_since'}, 'le',
           $gaps[0]{'lockbox.lost_until'}, '... in order');
    is($gaps[0]{'organization.id'}, 'acme', '... to whom');

    my $known = trail('acme');
    knock($t->grant(live => 0)) for 1 .. 120;
    $t->wait_for(sub { trail('acme') >= $known + 120 }, undef,
                 'those who are known');
    pass('those who are known are all there');
}

sub retention {
    my $key = stream_key('globex');

    redis('DEL', $key);
    redis('XADD', $key, "$_-1", records => '{' . ' ' x 1000 . '}')
        for 1 .. 100;
    file(tenant => 'globex');
    $t->wait_for(sub { grep { ($_->{seq} // 0) > 0 } trail('globex') }, undef,
                 'a record behind old ones');

    cmp_ok(scalar(grep { !$_->{seq} } trail('globex')), '<', 10,
           'what is older than the retention goes');
    cmp_ok(redis('PTTL', $key), '<=', $KEEP * 1000,
           'and all of it, when nothing comes');
    cmp_ok(redis('PTTL', $key), '>', $KEEP * 1000 - 600_000, '... but later');
    redis('DEL', $key);
}

# A worker that goes hands over all that it has, and says so.
sub reload {
    my ($old) = workers();

    knock($t->grant(live => 0)) for 1 .. 20;
    my $last = (records())[-1]{'event.id'};
    $t->reload;

    $t->wait_for(sub { !grep { $_ eq $old } workers() }, undef,
                 'the old worker to take its leave');
    ok((grep { ($_->{'event.id'} // '') eq $last } entries('acme')),
       'what it had is in the stream');
    $t->wait_for(sub { workers() == 1 }, undef, 'the new worker');
    is(scalar(grep { $_ eq $old } workers()), 0, '... which is another one');
}

# One that is killed cannot.
sub killed {
    my ($old) = workers();

    file();
    complete_last('acme');
    $t->expect_log(qr/exited on signal 9/);
    kill 'KILL', $t->workers;
    $t->wait_for(sub { workers() == 2 }, undef, 'a new worker');

    ok((grep { $_ eq $old } workers()),
       'a worker that was killed is still known');

    my ($number, $until) = split / /, redis('HGET', 'lockbox:workers', $old);

    is($number, (sort { $b <=> $a } map { $_->{seq} }
                 grep { $_->{worker} eq $old } trail('acme'))[0],
       '... with the number of its last record');
    cmp_ok($until, '<=', now(), '... and the time');
    redis('HDEL', 'lockbox:workers', $old);
}

# Workers that are missing are remembered, but not for ever, nor all.
sub missing {
    my $now = now();
    my $ancient = $now - ($KEEP + 60) * 1000;

    redis('HSET', 'lockbox:workers', "dead-$_", "7 " . ($now - 60_000 - $_))
        for 1 .. 1010;
    redis('HSET', 'lockbox:workers', 'ancient', "7 $ancient", 'odd', 'odd');
    $t->reload;
    $t->wait_for(sub { workers() <= 1001 }, undef, 'some to be forgotten');

    my %known = map { $_ => 1 } workers();

    ok($known{'dead-1'}, 'one that went lately is known');
    ok(!$known{$_}, "$_ is not") for qw(dead-1010 ancient odd);
    redis('HDEL', 'lockbox:workers', map { "dead-$_" } 1 .. 1010);
}

sub stopped {
    knock($t->grant(live => 0)) for 1 .. 20;
    my $last = (records())[-1]{'event.id'};

    ok($t->stop, 'nginx stops');
    is((entries('acme'))[-1]{'event.id'}, $last,
       'what it had is in the stream');
    is(scalar workers(), 0, 'and nobody is left');
}

sub bounded {
    redis('FLUSHALL');
    Test::Lockbox::Admin::write_parts(directives => { lockbox_trail => 100 });
    $t->run;
    file();
    # of which no two fit into one entry
    knock($t->grant(live => 0), 'GET', '/tenants/acme/mail/' . 'x' x 1000,
          headers => { 'User-Agent' => "\xe2\x80\xae" x 340 }) for 1 .. 400;
    complete_last('acme');
    cmp_ok(scalar trail('acme'), '<', 150, 'lockbox_trail bounds the stream');
    cmp_ok(scalar trail('acme'), '>=', 100, '... and no more');
    $t->stop;
}

# Two instances with two workers each, all at once.
sub several {
    redis('FLUSHALL');
    unlink $t->testdir . '/audit.log';
    Test::Lockbox::Admin::write_parts(workers => 2);
    $t->run;

    my $other = Test::Lockbox->new;
    at($other, sub {
        Test::Lockbox::Admin::write_parts(workers => 2);
        $other->run;
    });

    # a refusal begins no stream
    file();
    complete_last('acme');

    my $grant = $t->grant(live => 0);

    for (1 .. 10) {
        my @open = map { my $world = $_;
                         map { $world->http_start('GET', $MAIL,
                                                  token => $grant) } 1 .. 8;
                   } $t, $other;
        $_->response for @open;
    }

    $_->stop for $t, $other;

    my @lines = map { lines_of($_, 'acme') } $t, $other;
    my %numbers;
    push @{ $numbers{ $_->{worker} } }, $_->{seq} for trail('acme');

    my @records = map { $_->{record} } trail('acme');

    is(scalar @records, @lines, 'of several workers: all records');
    ok("@{[ sort @records ]}" eq "@{[ sort @lines ]}", '... each once');
    cmp_ok(scalar keys %numbers, '>', 1, '... more than one of them');
    is_deeply($numbers{$_}, [ 1 .. @{ $numbers{$_} } ], '... each in order')
        for sort keys %numbers;
    is(scalar workers(), 0, '... and none is left');
}
