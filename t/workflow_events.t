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
bounds();

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

sub bounds {
    fresh('approved');

    redis('EVAL', 'for i = 1, 11000 do redis.call("XADD", ARGV[1], "*", '
                  . '"event", "collected") end', 0, $EVE);
    did('grant', 'engineer');

    my $length = redis('XLEN', $EVE);
    cmp_ok($length, '>=', 10_000, 'so many events of an engineer are kept');
    cmp_ok($length, '<', 10_200, 'and hardly more');
}
