#!/usr/bin/env perl

# Why: events are what others act upon, so their order must be one order, and
# nobody's streams may hold what is not theirs.

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);

use Test::Lockbox;
use Test::Lockbox::Workflow;

my $t = Test::Lockbox->new;

start($t);

# the engineer's, as the script calls them
my $EVE = 'lockbox:engineer:' . sha1_hex("https://vendor.example\neve")
          . ':events';
my @STREAMS = ('lockbox:events', 'lockbox:{acme}:events', $EVE);

one_order();
wakes();
all_states();
views();
two_streams();
reading();
growing_ids();
no_more_ids();
collected();
missed();
missed_in_one();
missed_by_others();

done_testing();


sub entries {
    my ($stream) = @_;

    return redis('XRANGE', $stream, '-', '+');
}

sub events_of {
    my ($who, %args) = @_;

    return called('events', $who, limit => 100, %args);
}

sub told {
    return [ map { "$_->{event} $_->{tenant}" }
                 @{ events_of(@_)->{events} } ];
}

sub one_order {
    fresh('completed');
    file('other-engineer', request => { id => id(2) });
    file('engineer', request => { id => id(3), tenant => 'globex' });

    my ($all, $acme, $eve) = map { entries($_) } @STREAMS;
    my %by_id = map { $_->[0] => $_->[1] } @$all;

    is(scalar keys %by_id, @$all, 'each event has an id of its own');
    is_deeply([ map { $by_id{ $_->[0] } } @$_ ], [ map { $_->[1] } @$_ ],
              'it is the same in all streams') for $acme, $eve;

    my %tenants = map { ${ { @{ $_->[1] } } }{tenant} => 1 } @$acme;
    my %engineers = map { ${ { @{ $_->[1] } } }{engineer_sub} => 1 } @$eve;
    is_deeply(\%tenants, { acme => 1 }, 'a tenant\'s has no others');
    is_deeply(\%engineers, { eve => 1 }, 'nor has an engineer\'s');

    my $reply = step('cancel', 'other-engineer', id => id(2));
    is_deeply([ map { [ @$_{qw(event id settles)} ] } @{ $reply->{announced} } ],
              [ [ 'cancelled', id(2), 'manager' ] ], 'a step says its event');
    is($reply->{announced}[0]{cursor}, entries('lockbox:events')->[-1][0],
       '... with its id');
    is_deeply(step('cancel', 'other-engineer', id => id(2))->{announced}, [],
              'a step that is refused has none');
    is_deeply(called('show', 'engineer')->{announced}, [], 'nor has a look');
}

sub wakes {
    my $client = $t->redis_client;

    $client->command('SUBSCRIBE', 'lockbox:wake');
    fresh('approved');
    is_deeply($client->reply, [ 'message', 'lockbox:wake', '' ],
              'who waits is woken, and told no more') for 1 .. 4;
}

sub all_states {
    my %settles = (
        denied => 'manager', cancelled => 'manager', approved => 'customer',
        'awaiting_customer' => 'manager', 'awaiting_manager' => undef,
        'lapsed, swept' => 'manager', revoked => undef, completed => undef,
        'expired, swept' => undef,
    );

    for my $state (sort keys %settles) {
        fresh($state);

        my $last = events_of('manager')->{events}[-1];
        is($last->{settles}, $settles{$state}, "$state: what it settles");
        is($last->{state}, $state =~ s/,.*//r, '... and what it is');
    }

    # the first of two approvals opens and settles nothing
    flush();
    file('engineer');
    my $event = step('approve', 'manager',
                     required => { manager => 2, customer => 1 })
                    ->{announced}[0];
    is_deeply([ @$event{qw(stage opens settles)} ],
              [ 'manager', undef, undef ], 'one of two managers');
    $event = step('approve', 'third-manager',
                  required => { manager => 2, customer => 1 })
                 ->{announced}[0];
    is_deeply([ @$event{qw(stage opens settles)} ],
              [ 'customer', 'customer', 'manager' ], 'and the other one');

    # a question settles nothing; what ends it does
    for my $stage (qw(manager customer)) {
        my %ends = (
            denied => sub { step('deny', $stage) },
            cancelled => sub { step('cancel', 'engineer') },
            lapsed => sub { overdue(); swept() },
        );

        for my $end (sort keys %ends) {
            fresh("needs_info of the $stage");
            is_deeply([ @{ events_of('manager')->{events}[-1] }
                            {qw(event stage opens settles)} ],
                      [ 'asked', $stage, undef, undef ],
                      "a question of the $stage");
            is_deeply([ @{ $ends{$end}->()->{announced}[0] }
                            {qw(event stage opens settles)} ],
                      [ $end, undef, undef, $stage ], "... then $end");
        }
    }
}

sub views {
    fresh('approved');

    for my $who (sort keys %ACTOR) {
        my $blind = $BLIND{$who};
        my $events = events_of($who)->{events};

        is(scalar @$events, $blind ? 0 : 4, $blind
            ? "$who hears nothing (W12)" : "$who hears all of it");
        is_deeply($events, events_of('manager')->{events}, '... as it is')
            if !$blind;
    }
}

# An engineer who is a tenant's auditor, too, has two.
sub two_streams {
    flush();

    local $ACTOR{both} = { %{ $ACTOR{engineer} }, tenant => 'globex',
        roles => { engineer => JSON::PP::true, auditor => JSON::PP::true } };

    file('engineer', request => { id => id(1) });
    file('other-engineer', request => { id => id(2), tenant => 'globex' });
    file('engineer', request => { id => id(3), tenant => 'globex' });
    file('other-engineer', request => { id => id(4) });
    file('engineer', request => { id => id(5) });

    my $ids = sub { [ map { $_->{id} } @{ $_[0]{events} } ] };
    my $expected = [ map { id($_) } 1, 2, 3, 5 ];

    is_deeply($ids->(events_of('both')), $expected, 'two streams as one');

    my (@pages, $cursor);
    for (1 .. 5) {
        my $page = events_of('both', limit => 1, cursor => $cursor);
        push @pages, @{ $ids->($page) };
        $cursor = $page->{next};
    }
    is_deeply(\@pages, $expected, '... one by one');
}

sub reading {
    fresh('approved');

    my $all = events_of('manager');
    my $last = $all->{events}[-1]{cursor};

    is($all->{next}, $last, 'the cursor is the last one');
    is(events_of('manager', cursor => $last)->{next}, $last, '... and stays');
    is_deeply(events_of('manager', latest => JSON::PP::true),
              { result => 'ok', next => $last, events => [] },
              'the latest is nothing yet');
    is(events_of('nobody', latest => JSON::PP::true)->{next}, '0-0',
       '... and for nobody never');
    is_deeply(told('manager', cursor => $all->{events}[0]{cursor},
                   latest => JSON::PP::true), [ ('approved acme') x 3 ],
              'a cursor is stronger');

    for my $cursor ('', 'x', '1', '1-', '-1', '1-1-1', ' 1-1', "1-1\n",
                    '9' x 16 . '-1', '1-' . '9' x 16, (now() + 9999) . '-0')
    {
        is(events_of('manager', cursor => $cursor)->{result},
           'invalid_cursor', 'the cursor "' . $cursor =~ s/\n/\\n/r . '"');
    }

    for my $limit (0, 101, -1, 1.5, '1', undef) {
        like(events_of('manager', limit => $limit)->{error},
             qr/bad argument/, 'limit ' . ($limit // 'missing'));
    }
}

# Whatever the clock does.
sub growing_ids {
    flush();

    my $ahead = now() + 3_600_000;
    redis('XADD', 'lockbox:{acme}:events', "$ahead-7", 'event', 'filed');
    file('engineer');

    is(entries($_)->[-1][0], "$ahead-8", "$_ goes on from there")
        for @STREAMS;

    redis('DEL', 'lockbox:{acme}:events', $EVE);
    did('approve', 'manager');
    is(entries($_)->[-1][0], "$ahead-9", "... $_, too") for @STREAMS;

    redis('XTRIM', $_, 'MAXLEN', 0) for @STREAMS;
    did('approve', 'customer');
    is(entries($_)->[-1][0], "$ahead-10", "... and without entries, $_")
        for @STREAMS;
    is(events_of('manager', cursor => "$ahead-10")->{result}, 'ok',
       'such a cursor is good');
    is(events_of('manager', cursor => "$ahead-11")->{result},
       'invalid_cursor', '... but no later one');
}

sub no_more_ids {
    fresh('approved');
    redis('XADD', 'lockbox:events', '18446744073709551615-1', 'event', 'x');

    my $before = dump_keys();
    like(step('grant', 'engineer')->{error}, qr/no more ids/,
         'a stream that is at its end');
    is(dump_keys(), $before, '... changes nothing');
}

# Whoever collects a grant over and over tells nobody anything new.
sub collected {
    fresh('approved');

    my $key = "lockbox:{acme}:collected:$ID";
    my $told = sub {
        my ($id) = @_;

        return [ map { "$_->{event} $_->{id}" }
                     @{ step('grant', 'engineer', id => $id)->{announced} } ];
    };

    is_deeply($told->($ID), [ "collected $ID" ], 'who collects is announced');
    is_deeply($told->($ID), [], '... but not again and again') for 1 .. 3;
    is(scalar(grep { $_->{event} eq 'collected' } events()), 1,
       '... in no stream');

    my $left = redis('PTTL', $key);
    ok($left > 0 && $left <= 3_600_000, '... within an hour');
    redis('PEXPIRE', $key, 100_000);
    is_deeply($told->($ID), [], '... of the one that was announced');
    cmp_ok(redis('PTTL', $key), '<=', 100_000, '... and no later one');
    redis('DEL', $key);
    is_deeply($told->($ID), [ "collected $ID" ], '... then it is again');

    file('engineer', request => { id => id(2) });
    did($_->[0], $_->[1], id => id(2))
        for [ 'approve', 'manager' ], [ 'approve', 'customer' ];
    is_deeply($told->(id(2)), [ 'collected ' . id(2) ],
              '... and so is another request\'s');
}

# So many more of the engineer's.
sub more_of_eve {
    my ($count) = @_;

    redis('EVAL', <<'EOF_LUA', 0, $EVE, $count);
for i = 1, ARGV[2] do
    redis.call('XADD', ARGV[1], '*', 'event', 'filed', 'tenant', 'acme', 'id',
               'x', 'engineer_iss', 'https://vendor.example',
               'engineer_sub', 'eve')
end
EOF_LUA
}

# Where somebody gets to with a cursor, and what is said of a gap.
sub behind {
    my ($who, $cursor, %args) = @_;

    my $page = called('events', $who, limit => 2, cursor => $cursor, %args);

    return join ' ', $page->{gap} ? 'gap' : (),
                     map { $_->{cursor} } @{ $page->{events} };
}

# What the script drops it drops at the old end, and knows to the last one.
sub missed {
    flush();
    more_of_eve(10_099);

    my @ids = map { $_->[0] } @{ entries($EVE) };

    is(behind('engineer', '0-0'), "@ids[0, 1]", 'nothing is missing yet');
    file('engineer');
    is(redis('XLEN', $EVE), 10_100, '... nor is with one more');
    is(behind('engineer', '0-0'), "@ids[0, 1]", '... for anybody');

    file('engineer', request => { id => id(2) });
    is(redis('XLEN', $EVE), 10_001, 'then the oldest go');

    for (1, 2) {
        is(behind('engineer', '0-0'), "gap @ids[100, 101]",
           'whoever has read nothing has missed some');
        is(behind('engineer', $ids[98]), "gap @ids[100, 101]",
           'whoever has not read the last one has missed it');
        is(behind('engineer', $ids[99]), "@ids[100, 101]",
           '... whoever has, nothing');
        is(behind('engineer', $ids[100]), "@ids[101, 102]",
           '... nor whoever is further');
        is(behind('engineer', undef), "@ids[100, 101]",
           'whoever begins begins with what is there');
        is(behind('engineer', undef, latest => JSON::PP::true), '',
           '... or with what comes');
        is(behind('manager', $ids[0]),
           join(' ', map { $_->[0] } @{ entries('lockbox:events') }[0, 1]),
           'who reads other ones has missed none');

        # once more, from there on
        my @more = map { $_->[0] } @{ entries($EVE) };

        more_of_eve(99) if @more == 10_001;
        file('engineer', request => { id => id(2 + $_) });
        @ids = @more;
    }

    my $last = redis('XREVRANGE', $EVE, '+', '-', 'COUNT', 1)->[0][0];
    is(called('events', 'engineer', limit => 1, cursor => '0-0')->{next},
       $ids[100], 'the cursor behind a gap is that of an event');
    redis('XDEL', $EVE, map { $_->[0] } @{ entries($EVE) });
    my $page = called('events', 'engineer', limit => 1, cursor => $ids[0]);
    is_deeply($page, { result => 'ok', gap => 1, events => [],
                       next => $last }, '... or where nothing is left');
    is(behind('engineer', $last), '', '... which says so once');
}

# An engineer who is a tenant's auditor, too: what is missing in one of the
# two may lie between what is there in the other one.
sub missed_in_one {
    flush();

    local $ACTOR{both} = { %{ $ACTOR{engineer} }, tenant => 'globex',
        roles => { engineer => JSON::PP::true, auditor => JSON::PP::true } };

    my $of_globex = sub {
        my ($number) = @_;

        return file('other-engineer', request => { id => id($number),
                    tenant => 'globex' })->{announced}[0]{cursor};
    };

    my @early = map { $of_globex->($_) } 1 .. 3;
    more_of_eve(10_100);
    my @ids = map { $_->[0] } @{ entries($EVE) };
    file('engineer', request => { id => id(4) });

    is(behind('both', '0-0'), "gap @early[0, 1]", 'a gap between others');
    is(behind('both', $early[1]), "gap $early[2] $ids[100]", '... goes on');
    is(behind('both', $early[2]), "gap @ids[100, 101]", '... to its end');
    is(behind('both', $ids[99]), "@ids[100, 101]", '... and no further');
    is(behind('both', undef), "@ids[100, 101]",
       'without a cursor all is there');
    is(behind('other-auditor', $early[0]), "@early[1, 2]",
       'whoever sees one alone has missed nothing');

    # a page that is full has not told all
    redis('XTRIM', $EVE, 'MAXLEN', 0);
    is(called('events', 'both', limit => 3, cursor => '0-0')->{next},
       $early[2], 'a full page goes on behind it');
    is(called('events', 'both', limit => 4, cursor => '0-0')->{next},
       redis('XREVRANGE', 'lockbox:events', '+', '-', 'COUNT', 1)->[0][0],
       '... another one behind the gap');
}

# Nobody knows what somebody else has dropped, but that it was older than what
# is left.
sub missed_by_others {
    fresh('approved');

    my @ids = map { $_->[0] } @{ entries('lockbox:events') };

    redis('XTRIM', 'lockbox:events', 'MAXLEN', @ids - 2);
    is(behind('manager', $ids[0]), "gap @ids[2, 3]", 'dropped by others');
    is(behind('manager', $ids[2]), $ids[3], '... not for whoever is behind');
    is(behind('manager', undef), "@ids[2, 3]", '... nor for whoever begins');
    is(behind('customer', $ids[0]), "@ids[1, 2]",
       '... nor for whoever reads another one');

    redis('XTRIM', 'lockbox:events', 'MAXLEN', 0);
    is(behind('manager', $ids[2]), 'gap', 'all of it');
    is(behind('manager', $ids[3]), '', '... read before');
    is(called('events', 'manager', limit => 1)->{next}, $ids[3],
       'whoever begins begins there');

    my $next = step('complete', 'engineer')->{announced}[0]{cursor};
    is(behind('manager', $ids[1]), "gap $next", 'the next one is there');

    redis('DEL', 'lockbox:events');
    is(behind('manager', $ids[1]), '', 'a new stream has lost nothing');
}
