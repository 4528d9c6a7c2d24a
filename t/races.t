#!/usr/bin/perl

# Steps that meet: two people decide at the same moment, on two workers of one
# nginx and on two nginx of one Redis.  Each time one of them wins, and what is
# stored, announced, recorded and granted is what the winner did.  A race in
# which not both have won at times, or in which no loser got as far as Redis,
# was none, and fails.
#
# Besides, each action meets each other one that is possible at that time.  What
# then comes of it must be what a model of the workflow makes of the two, one
# after the other, in one order or the other; and both orders must be seen.
#
# LOCKBOX_RACES is the number of rounds of each (12), LOCKBOX_PAIRS that of each
# of such pairs (2).

use strict;
use warnings;

use FindBin ();
use JSON::PP ();
use List::Util qw(first max);

use Lockbox::Jose qw(decode key);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Model;
use Test::Lockbox::Race qw(lane lanes call fire spin_until $RACE_SERVER);

my $ROUNDS = $ENV{LOCKBOX_RACES} // 12;
my $PAIR_ROUNDS = $ENV{LOCKBOX_PAIRS} // 2;
my $MOST_ROUNDS = 10 * $ROUNDS + 100;

my $POLICY = '/lockbox/v1/tenants/acme/policy';

# approvals of one step at once
my $CROWD = 100;

# seconds that a runner may start behind the other one
my $LONGEST_GAP = 0.0004;

my @STEPS = (
    {
        name => 'approve against deny',
        before => ['filed'],
        runners => [
            [ 'manager', 'approve', { version => 1 } ],
            [ 'second-manager', 'deny', { version => 1 } ],
        ],
    }, {
        name => 'two approvals by two managers',
        before => ['filed'],
        runners => [
            [ 'manager', 'approve', { version => 1 } ],
            [ 'second-manager', 'approve', { version => 1 } ],
        ],
    }, {
        name => 'cancel against approve',
        before => ['filed'],
        runners => [
            [ 'engineer', 'cancel', { version => 1 } ],
            [ 'manager', 'approve', { version => 1 } ],
        ],
    }, {
        name => 'cancel, whatever it is by then, against the last approval',
        before => ['filed', 'approved'],
        runners => [
            [ 'engineer', 'cancel', {} ],
            [ 'customer', 'approve', { version => 2 } ],
        ],
    }, {
        name => 'last approval against deny',
        before => ['filed', 'approved'],
        runners => [
            [ 'customer', 'approve', { version => 2 } ],
            [ 'second-customer', 'deny', { version => 2 } ],
        ],
    }, {
        name => 'revoke against hand-back',
        before => ['filed', 'approved', 'approved'],
        runners => [
            [ 'customer', 'revoke', {} ],
            [ 'engineer', 'complete', {} ],
        ],
    },
);

# what a request is after each of its events
my %STATE_AFTER = (
    denied => 'denied', cancelled => 'cancelled', revoked => 'revoked',
    completed => 'completed', lapsed => 'lapsed',
);

my %EVENT_OF = (
    approve => 'approved', deny => 'denied', cancel => 'cancelled',
    revoke => 'revoked', complete => 'completed', grant => 'collected',
    ask => 'asked', answer => 'answered',
);

# Where requests are when actions meet: the steps that lead there, what time
# makes of it, and whoever may do something there.
my $TEXT = { comment => 'Which one?' };
my @STANDS = (
    {
        name => 'for the manager', steps => [], end => 'lapsed',
        runners => decisions(1, 'manager', 'second-manager'),
    }, {
        name => 'for the customer', steps => [ [ 'manager', 'approve' ] ],
        end => 'lapsed',
        runners => decisions(2, 'customer', 'second-customer'),
    }, {
        name => 'with a question', steps => [ [ 'manager', 'approve' ],
                                              [ 'customer', 'ask' ] ],
        end => 'lapsed',
        runners => [
            [ 'engineer', 'answer', $TEXT ],
            [ 'engineer', 'answer', { %$TEXT, version => 3 } ],
            [ 'customer', 'deny', { version => 3 } ],
            [ 'second-customer', 'deny', { version => 3 } ],
            [ 'engineer', 'cancel', {} ],
            [ 'engineer', 'cancel', { version => 3 } ],
        ],
    }, {
        name => 'approved', steps => [ [ 'manager', 'approve' ],
                                       [ 'customer', 'approve' ] ],
        end => 'expired',
        runners => [
            [ 'customer', 'revoke', {} ],
            [ 'manager', 'revoke', {} ],
            [ 'engineer', 'complete', {} ],
            [ 'engineer', 'complete', { version => 3 } ],
            [ 'engineer', 'grant', {} ],
        ],
    },
);

my $WATCHER = [ 'auditor', 'show', undef ];

# Policies that change meanwhile: whoever decides goes by the one or the other.
my %POLICIES = (
    'for the manager' => [
        [ [ 'manager', 'approve', { version => 1 } ], policy(600) ],
        [ policy(600), policy(1200, 'second-') ],
    ],
    'for the customer' => [
        [ [ 'customer', 'approve', { version => 2 } ], policy(600) ],
        [ [ 'customer', 'approve', { version => 2 } ],
          policy(undef, 'second-') ],
    ],
);

# seconds that a look, which is quick, may start behind a step
my $LONGEST_LOOK = 0.004;

my ($one, $two) = map { Test::Lockbox->new } 1 .. 2;
my $managers = 1;

begin($one, parts($one));
$two->upstream;
$two->write_conf($two->conf(parts($two)));
$two->run;

my $sweeps = $one->redis_client;
my $script = redis('SCRIPT', 'LOAD', workflow());
my $last_event = '0-0';
my $rounds_run = 0;
my $open;
my %read_to;

race_steps('two workers', lanes($one, 2));
race_all('two workers', lanes($one, 2));
race_all('two instances', lane($one), lane($two));
race_pairs(lane($one), lane($two));
race_extensions(lane($one), lane($two));

# the version alone tells the second decision of a stage from the first
$managers = 2;

for my $t ($one, $two) {
    $t->write_conf($t->conf(parts($t)));
    $t->reload;
}

race_counting('two workers', lanes($one, 2));
race_counting('two instances', lane($one), lane($two));

done_testing();


# What either of two can do about a version that waits for them, and the
# engineer.
sub decisions {
    my ($version, @people) = @_;

    return [
        map({ my $who = $_; (
            [ $who, 'approve', { version => $version } ],
            [ $who, 'deny', { version => $version } ],
            [ $who, 'ask', { version => $version, %$TEXT } ],
        ) } @people),
        [ 'engineer', 'cancel', {} ],
        [ 'engineer', 'cancel', { version => $version } ],
    ];
}

# Allows so many seconds, or takes another customer.
sub policy {
    my ($seconds, $which) = @_;

    return [ ($which // '') . 'customer', 'policy', {
        version => 0,
        policy => { $seconds ? (max_duration => $seconds)
                             : (approvals => 2) },
    } ];
}


# Worlds

# Both use the Redis of the first, and keys of their own.  Who is slow is not
# to be out of the race.
sub parts {
    my ($t) = @_;

    my ($own, $other) = map { key('P-256', $_) }
        $t == $one ? qw(first second) : qw(second first);
    my $redis = 'unix:' . $one->testdir . '/redis.sock timeout=10s';

    $t->write_file('own.pem', $own->{pem});
    $t->write_file('other.pem', $other->{public_pem});

    return (
        workers => $t == $one ? 2 : 1, server => $RACE_SERVER,
        directives => {
            lockbox_signing_key => '%%TESTDIR%%/own.pem',
            lockbox_accept_key => '%%TESTDIR%%/other.pem',
            lockbox_approvals => "manager=$managers customer=1",
            lockbox_redis => $redis,
        },
    );
}

sub workflow {
    open my $fh, '<:raw', "$FindBin::Bin/../admin/workflow.lua"
        or die "workflow.lua: $!\n";
    local $/;

    return scalar <$fh>;
}


# Races

sub race_steps {
    my ($where, @lanes) = @_;

    for my $race (@STEPS) {
        race("$where: $race->{name}", $race->{before}, \@lanes,
             runners => $race->{runners}, judge => \&judge_step);
    }
}

sub race_all {
    my ($where, @lanes) = @_;

    race("$where: revoke against collect", ['filed', 'approved', 'approved'],
         \@lanes, judge => \&judge_revoke, early_grant => 1, runners => [
             [ 'customer', 'revoke', {} ],
             [ 'engineer', 'grant', {} ],
         ]);

    race("$where: collect against collect", ['filed', 'approved', 'approved'],
         \@lanes, judge => \&judge_collect, equal => 1, runners => [
             [ 'engineer', 'grant', {} ],
             [ 'engineer', 'grant', {} ],
         ]);

    race_deadline("$where: lapse against approve", $STANDS[0],
                  $STANDS[0]{runners}[0], undef, @lanes);
    race_crowd("$where: $CROWD approvals at once by one manager (W07)",
               @lanes);
}

sub race_counting {
    my ($where, @lanes) = @_;

    race("$where: two first approvals of a stage that needs two", ['filed'],
         \@lanes, judge => \&judge_step, runners => $STEPS[1]{runners});

    race_crowd("$where: $CROWD of two approvals at once by one manager",
               @lanes);
}

# Both runners start each round; the lanes and who starts first are swapped
# from round to round.
sub race {
    my ($name, $before, $lanes, %race) = @_;

    my @rounds = run_rounds($race{equal}, sub {
        return run_round($before, $lanes, $_[0], %race);
    }, $race{rounds});

    report($name, $race{equal}, @rounds);
}

# As many as asked for, and more if it has not been a race by then.
sub run_rounds {
    my ($equal, $run, $least) = @_;

    my @rounds;
    my $more = $least // $ROUNDS;

    do {
        my @new = map { $run->(@rounds + $_) } 1 .. $more;

        check_records(@new);
        push @rounds, @new;
        $more = $least ? 2 : 10;
    } until was_race($equal, @rounds) || @rounds > $MOST_ROUNDS;

    return @rounds;
}

# Both have won.  And a loser has been stopped by Redis, unless they are
# equals, who take nothing from each other.
sub was_race {
    my ($equal, @rounds) = @_;

    my %won = map { $_->{winner} => 1 } grep { defined $_->{winner} } @rounds;

    return keys %won == 2 && ($equal || grep { @{ $_->{behind} } } @rounds);
}

sub run_round {
    my ($before, $lanes, $number, %race) = @_;

    my ($id, $other) = ref $before eq 'CODE' ? $before->()
                                             : prepare($before);
    my $early = $race{early_grant} ? collect($id) : undef;
    my $looked_at = $race{runners}[1][1] eq 'show';
    my @order = $number % 2 && !$looked_at ? (1, 0) : (0, 1);
    my @lanes = $number % 4 < 2 ? @$lanes : reverse @$lanes;
    my $gap = $looked_at ? rand $LONGEST_LOOK
            : $number % 3 ? rand $LONGEST_GAP : 0;

    my $round = { id => $id, number => ++$rounds_run, wrong => [],
                  before => $before, early => $early, lanes => \@lanes,
                  other => $other };

    my @responses = fire(map {
        my ($who, $action, $body, $elsewhere) = @{ $race{runners}[$_] };
        my $where = uri($elsewhere ? $other : $id, $action);
        my $tag = tag($round, $_);

        [ $lanes[$_], $action eq 'show' ? ('GET', uri($id))
            : $action eq 'policy' ? ('PUT', $POLICY, json => $body)
            : $action eq 'extend'
                ? ('POST', $REQUESTS, json => filing(extends => $id))
            : ('POST', $where, json => $body),
          token => token_of($who), headers => { 'User-Agent' => $tag },
          after => $_ == $order[1] ? $gap : 0 ];
    } @order);

    @{ $round->{responses} }[@order] = @responses;
    $round->{runners} = $race{runners};
    $round->{started_first} = $order[0];

    $race{judge}->($round);
    check_grant($round);

    return $round;
}

# A request at that point of its life.
sub prepare {
    my ($before) = @_;

    forget_open();

    my $id = file();
    approve($_, $id)
        for ($managers == 1 ? qw(manager customer) : ())[0 .. $#$before - 1];

    return $id;
}

# What other rounds have left waiting does not count against the engineer.
sub forget_open {
    $open //= redis('KEYS', 'lockbox:{acme}:open:*')->[0] // return;
    redis('DEL', $open);
}

sub tag {
    my ($round, $runner) = @_;

    return "round-$round->{number}-$runner";
}


# What a round must have led to

sub wrong {
    my ($round, $what) = @_;

    push @{ $round->{wrong} }, "round $round->{number}: $what";
}

sub expect {
    my ($round, $got, $expected, $what) = @_;

    wrong($round, "$what: $got, not $expected") if $got ne $expected;
}

# One takes its step, and the other one is told who was faster.
sub judge_step {
    my ($round) = @_;

    my @responses = @{ $round->{responses} };
    my @winners = grep { $responses[$_]->status == 200 } 0 .. $#responses;

    if (@winners != 1) {
        wrong($round, 'answers ' . join ', ', map { outcome($_) } @responses);
        return;
    }

    my ($winner) = @winners;
    my $event = $EVENT_OF{ $round->{runners}[$winner][1] };
    my $request = expect_story($round, @{ $round->{before} }, $event);

    $round->{winner} = $winner;
    expect_conflict($round, $responses[1 - $winner], $request);
    expect($round, shown($responses[$winner]->json), shown($request),
           'what the winner was told');
}

# The revoke is carried out in any case.  A grant that was collected is one of
# before, and no longer good once the revoke is answered; it had been collected
# before, so that this tells nothing new.
sub judge_revoke {
    my ($round) = @_;

    my ($revoke, $collect) = @{ $round->{responses} };
    my $collected = $collect->status == 200;

    expect($round, outcome($revoke), '200 ok', 'the revoke');
    my $request = expect_story($round, @{ $round->{before} }, 'collected',
                               'revoked');
    expect_conflict($round, $collect, $request) unless $collected;

    my @grants = ($round->{early},
                  $collected ? $collect->json->{access_token} : ());

    for my $grant (@grants) {
        for my $lane (@{ $round->{lanes} }) {
            expect($round, outcome(call($lane, 'GET', $MAIL, token => $grant)),
                   '401 revoked', 'a grant behind the revoke');
        }
    }

    $round->{winner} = $collected ? 1 : 0;
}

sub judge_collect {
    my ($round) = @_;

    my @responses = @{ $round->{responses} };

    expect($round, outcome($_), '200 ok', 'a collect') for @responses;
    expect_story($round, @{ $round->{before} }, 'collected');
    expect($round, grant_of($responses[0]), grant_of($responses[1]),
           'the grants');

    $round->{winner} = $responses[0]{came} < $responses[1]{came} ? 0 : 1;
}

# The events are these, in this order; and the request is what they made it.
sub expect_story {
    my ($round, @events) = @_;

    my @expected = ('filed 1 awaiting_manager');
    my ($version, $approvals) = (1, 0);
    my $state = 'awaiting_manager';

    for my $event (@events[1 .. $#events]) {
        $version++ if $event ne 'collected';
        $state = $event eq 'approved' ? state_after(++$approvals)
                                      : $STATE_AFTER{$event} // $state;
        push @expected, "$event $version $state";
    }

    my $request = stored($round->{id});

    expect($round, join(', ', events($round)), join(', ', @expected),
           'the events');
    expect($round, shown($request), "$version $state", 'the request');
    expect($round, redis('EXISTS', live_key($round->{id})),
           $state eq 'approved' ? 1 : 0, 'live keys');
    expect($round, join(', ', grep {
        defined redis('ZSCORE', "lockbox:requests:$_", "acme:$round->{id}");
    } qw(awaiting_manager awaiting_customer approved)),
           $state =~ /^(awaiting_.*|approved)$/ ? $state : '',
           'the indexes of open states');

    return $request;
}

sub state_after {
    my ($approvals) = @_;

    return $approvals < $managers ? 'awaiting_manager'
         : $approvals == $managers ? 'awaiting_customer' : 'approved';
}

sub shown {
    my ($request) = @_;

    return "$request->{version} $request->{state}";
}

sub new_events {
    my @new = @{ redis('XRANGE', 'lockbox:{acme}:events', "($last_event",
                       '+') };

    $last_event = $new[-1][0] if @new;

    return map { { @{ $_->[1] } } } @new;
}

# The events of the round's request, of those that came since the last look.
sub events {
    my ($round) = @_;

    my @events = grep { ($_->{id} // '') eq $round->{id} } new_events();

    for my $i (1 .. $#events) {
        wrong($round, 'an event of before its forerunner')
            if $events[$i]{at} < $events[$i - 1]{at};
    }

    return map { "$_->{event} $_->{version} $_->{state}" } @events;
}

sub expect_conflict {
    my ($round, $response, $request) = @_;

    my $told = outcome($response);

    if ($told ne '409 conflict') {
        wrong($round, "the loser: $told, not 409 conflict");
        return;
    }

    expect($round, shown($response->json), shown($request),
           'what the loser was told');
}

# Whoever asks gets the same grant, or none.
sub check_grant {
    my ($round) = @_;

    my $approved = stored($round->{id})->{state} eq 'approved';
    my @responses = map {
        call($_, 'POST', uri($round->{id}, 'grant'),
             token => token_of('engineer'), json => {})
    } @{ $round->{lanes} };

    events($round);

    if (!$approved) {
        expect($round, outcome($_), '409 conflict', 'a collect afterwards')
            for @responses;
        return;
    }

    my @grants = map { grant_of($_) } @responses, grep {
        $_ && ($_->json // {})->{access_token}
    } @{ $round->{responses} };

    expect($round, $_, $grants[0], 'one of the grants') for @grants;
    wrong($round, 'a grant of another request')
        if $grants[0] !~ /^$round->{id} /;
}

# jti, nbf, exp and the whole access of the grant in an answer.
sub grant_of {
    my ($response) = @_;

    my $token = $response->json->{access_token} // return outcome($response);
    my $claims = decode($token)->{payload};

    return join ' ', @$claims{qw(jti nbf exp)},
        JSON::PP->new->canonical->encode($claims->{authorization_details});
}


# Pairs

sub race_pairs {
    my (@lanes) = @_;

    for my $stand (@STANDS) {
        my @runners = @{ $stand->{runners} };
        my %seen;

        race_pair($stand, $_, @lanes)
            for @{ $POLICIES{ $stand->{name} } // [] };

        while (my $first = shift @runners) {
            for my $other (@runners, $WATCHER) {
                next if $seen{"$first->[1] $other->[1]"}++;
                $seen{"$other->[1] $first->[1]"}++;
                race_pair($stand, [ $first, $other ], @lanes);
            }

            race_deadline("$stand->{name}: time against $first->[1]",
                          $stand, $first, $PAIR_ROUNDS, @lanes)
                if !$seen{ $first->[1] }++;
        }
    }
}

sub race_pair {
    my ($stand, $runners, @lanes) = @_;

    my $name = join ' against ', map { "$_->[1] ($_->[0])" } @$runners;
    my @orders = map { told_by_model($stand, $runners, @$_) }
                     [ 0, 1 ], [ 1, 0 ];
    my $refuses = !(grep { $_->[1] eq 'policy' } @$runners)
        && grep { /\b409\b/ } map { $_->{answers} } @orders;

    race("$stand->{name}: $name", sub { lead_to($stand) }, \@lanes,
         runners => $runners, rounds => $PAIR_ROUNDS, equal => !$refuses,
         judge => sub { judge_pair(@_, @orders) });
}

sub lead_to {
    my ($stand) = @_;

    redis('DEL', 'lockbox:{acme}:policy');
    forget_open();

    my $id = file();
    my $version = 1;

    took(@$_, $id, version => $version++, %$TEXT) for @{ $stand->{steps} };

    return $id;
}

# What the model has for the two in that order.
sub told_by_model {
    my ($stand, $runners, @order) = @_;

    my $model = Test::Lockbox::Model->new(
        approvals => { manager => 1, customer => 1 }, max_open => 10,
        within => { manager => 3600, customer => 43200, engineer => 86400 });
    my $request = $model->file(modelled('engineer'), 'acme', filing(), 0)
                        ->{request};
    my @before = 'filed ' . shown($request);
    my (@answers, @events);

    for my $step (@{ $stand->{steps} }) {
        my ($who, $action) = @$step;

        $model->step(modelled($who), $action, $request, {}, 0);
        push @before, "$EVENT_OF{$action} " . shown($request);
    }

    for my $runner (@order) {
        my ($who, $action, $body) = @{ $runners->[$runner] };
        my $answer = $action eq 'show' ? { status => 200, word => 'ok' }
            : $action eq 'policy'
                ? $model->set_policy(modelled($who), 'acme', $body)
            : $model->step(modelled($who), $action, $request, $body, 0);
        my $taken = $answer->{word} eq 'ok';
        my $tells = $action eq 'policy' ? 0 : $taken ? $action ne 'grant'
                                            : $answer->{word} eq 'conflict';

        $answers[$runner] = join ' ', @$answer{qw(status word)},
            $tells ? shown($request) : ();
        push @events, $EVENT_OF{$action} . ' ' . shown($request)
            if $taken && $EVENT_OF{$action}
               && !($action eq 'grant' && grep { /^collected/ } @events);
    }

    return { answers => join(', ', @answers), before => \@before,
             events => \@events, state => shown($request) };
}

sub modelled {
    my ($who) = @_;

    my $claims = decode(token_of($who))->{payload};
    my ($role) = $who =~ /(\w+)\z/;

    return { iss => $claims->{iss}, sub => $claims->{sub},
             roles => { $role => 1 },
             tenant => $role eq 'customer' ? 'acme' : undef };
}

# One order explains all of it: both answers, the events, what is stored.
sub judge_pair {
    my ($round, @orders) = @_;

    my @responses = @{ $round->{responses} };
    my @answers = map {
        my $json = $_->json;
        join ' ', outcome($_), $json->{state} ? shown($json) : ();
    } @responses;
    my $request = stored($round->{id});
    my @events = events($round);
    my $state = shown($request);

    my $got = join ', ', @answers, $state, @events;
    my @fits = grep {
        my $order = $orders[$_];
        $got eq join ', ', @$order{qw(answers state)}, @{ $order->{before} },
                           @{ $order->{events} };
    } 0, 1;

    if (!@fits) {
        wrong($round, $got);
        return;
    }

    # where the order makes no difference, it is that of the answers
    $round->{winner} = @fits == 1 ? $fits[0]
        : $responses[0]{came} < $responses[1]{came} ? 0 : 1;

    my $changing = grep { !/^collected/ } @events;

    expect($round, $request->{version}, $changing, 'versions');
    expect($round, redis('EXISTS', live_key($round->{id})),
           $request->{state} eq 'approved' ? 1 : 0, 'live keys');
}


# Extensions

sub race_extensions {
    my (@lanes) = @_;

    for my $end ([ 'second-customer', 'revoke' ], [ 'engineer', 'complete' ]) {
        race("extension: its approval against $end->[1] of the other one",
             \&lead_to_extension, \@lanes, rounds => $PAIR_ROUNDS, equal => 1,
             judge => \&judge_extension, runners => [
                 [ 'customer', 'approve', { version => 2 } ],
                 [ @$end, {}, 'of the other one' ],
             ]);
    }

    race('extension: its filing against revoke of the other one',
         sub { lead_to($STANDS[3]) }, \@lanes, rounds => $PAIR_ROUNDS,
         equal => 1, judge => \&judge_filing, runners => [
             [ 'engineer', 'extend', {} ], [ 'customer', 'revoke', {} ],
         ]);
}

sub lead_to_extension {
    my $other = lead_to($STANDS[3]);
    my $id = file(extends => $other);

    took('manager', 'approve', $id, version => 1);

    return ($id, $other);
}

# It begins at the end of the other one, or at once if that had ended before.
sub judge_extension {
    my ($round) = @_;

    my @ids = @$round{qw(id other)};
    my @last = map { $_->{id} } grep { $_->{version} > 2 } new_events();
    my ($extension, $other) = map { stored($_) } @ids;
    my $second = int($extension->{approved_at} / 1000) * 1000;

    expect($round, outcome($_), '200 ok', 'an answer')
        for @{ $round->{responses} };
    @last = grep { $_ eq $ids[0] || $_ eq $ids[1] } @last;
    $round->{winner} = $last[-1] eq $ids[0] ? 1 : 0;

    expect($round, $extension->{expires_at} - 3_600_000,
           $round->{winner} ? $second : $other->{expires_at}, 'its beginning');
    expect($round, join(' ', map { redis('EXISTS', live_key($_)) } @ids),
           '1 0', 'live keys');
}

# What has been revoked by then is extended no more.
sub judge_filing {
    my ($round) = @_;

    my ($extend, $revoke) = map { outcome($_) } @{ $round->{responses} };
    my @events = grep { $_ =~ /^(?:filed|revoked)/ }
                 map { $_->{event} } new_events();

    expect($round, $revoke, '200 ok', 'the revoke');
    wrong($round, "the filing: $extend")
        if $extend !~ /^(?:201 ok|400 invalid_member)\z/;
    $round->{winner} = $extend =~ /^201/ ? 0 : 1;

    # behind the filing of what is extended
    expect($round, "@events[1 .. $#events]",
           $round->{winner} ? 'revoked' : 'filed revoked', 'the events');

    # so many may wait
    took('engineer', 'cancel', $round->{responses}[0]->json->{id})
        if !$round->{winner};
}


# The deadline

# The deadline is put where the step arrives: a little sooner after each one
# that was in time, and later after each one that was not.
sub race_deadline {
    my ($name, $stand, $runner, $least, @lanes) = @_;

    my $ahead = 0.003;
    my %meeting = (
        end => $stand->{end}, runner => $runner,
        stood => told_by_model($stand, [])->{state},
        told => told_by_model($stand, [ $runner ], 0),
    );

    my @rounds = run_rounds(0, sub {
        my $round = run_deadline($stand, \%meeting, \@lanes, $ahead, $_[0]);

        $ahead = max(0, $ahead + ($round->{winner} ? -0.0003 : 0.0005));
        return $round;
    }, $least);

    report($name, 0, @rounds);
}

# The end is runner 0: the one that records it is a sweep of our own, as
# nobody can say when those of the workers come.  Somebody looks meanwhile.
sub run_deadline {
    my ($stand, $meeting, $lanes, $ahead, $number) = @_;

    my ($who, $action, $body) = @{ $meeting->{runner} };
    my @lanes = $number % 2 ? @$lanes : reverse @$lanes;
    my $id = lead_to($stand);
    my $round = { %$meeting, id => $id, number => ++$rounds_run, wrong => [],
                  lanes => \@lanes };
    my $deadline = (now() + 12) / 1000;

    redis('HSET', request_key($id), $stand->{end} eq 'expired'
              ? 'expires_at' : 'answer_by', 1000 * $deadline);
    redis('ZADD', 'lockbox:deadlines', 1000 * $deadline, "acme:$id");
    redis('PEXPIREAT', live_key($id), 1000 * $deadline);
    spin_until($deadline - $ahead);

    my @responses = fire(
        [ $lanes[0], 'POST', uri($id, $action), json => $body,
          token => token_of($who),
          headers => { 'User-Agent' => tag($round, 1) } ],
        [ $lanes[1], 'GET', uri($id), token => token_of('auditor') ]);

    spin_until($deadline);
    sweep($id);
    judge_deadline($round, @responses);
    check_grant($round);

    return $round;
}

sub judge_deadline {
    my ($round, $response, $show) = @_;

    my ($told, $end) = @$round{qw(told end)};
    my ($version, $before) = split ' ', $round->{stood};
    my $taken = $response->status == 200;
    my $over = sprintf '%d %s', $version + 1, $end;

    # a grant that was collected in time ends all the same
    my @events = (@{ $told->{before} }, $taken ? @{ $told->{events} } : (),
                  !$taken || $told->{state} =~ /approved/
                      && $before eq 'approved' ? "$end $over" : ());
    my $after = $events[-1] =~ s/^\S+ //r;
    my $events = join ', ', events($round);
    my $request = stored($round->{id});

    $round->{responses} = [ undef, $response ];
    $round->{winner} = $taken ? 1 : 0;
    $round->{started_first} = 1;

    expect($round, $events, join(', ', @events), 'the events');
    expect($round, shown($request), $after, 'the request');
    expect($round, redis('EXISTS', live_key($round->{id})),
           $request->{state} eq 'approved' ? 1 : 0, 'live keys');

    my $seen = outcome($show) eq '200 ok' ? $show->json->{state}
                                          : outcome($show);
    my %right = map { (split)[-1] => 1 } $before, $end, $after;

    wrong($round, "seen as $seen") if !$right{$seen} || $taken
        && $seen eq $end && $after ne $over;
    return if $taken;

    expect($round, outcome($response), '409 conflict', 'who came late');
    expect($round, $response->json->{state} // '', $end,
           'what the late one was told');
}

sub sweep {
    my ($id) = @_;

    $sweeps->command('EVALSHA', $script, 0, 'sweep', JSON::PP::encode_json(
        { tenant => 'acme', id => $id, retention => 86_400_000 }));
}


# A crowd (one approver, one step, many at once) counts once

sub race_crowd {
    my ($name, @lanes) = @_;

    my @crowd = map { lane($lanes[$_ % @lanes]{world}) } 1 .. $CROWD;
    my @rounds = map { run_crowd(\@crowd, \@lanes) } 1 .. max(2, $ROUNDS / 10);
    my @wrong = map { @{ $_->{wrong} } } @rounds;

    check_records(@rounds);
    is(join("\n", first_few(@wrong)), '', "$name: it counts once");

    my @behind = map { scalar @{ $_->{behind} } } @rounds;

    cmp_ok(max(@behind), '>', 0, "$name: it was a race");
    note(sprintf '%s: %d rounds, in the largest %d of %d losers in Redis',
         $name, scalar @rounds, max(@behind), $CROWD - 1);
}

sub run_crowd {
    my ($crowd, $lanes) = @_;

    my $round = { id => prepare(['filed']), number => ++$rounds_run,
                  wrong => [], lanes => $lanes };
    my $runner = 0;

    $round->{responses} = [ fire(map {
        [ $_, 'POST', uri($round->{id}, 'approve'), json => { version => 1 },
          token => token_of('manager'),
          headers => { 'User-Agent' => tag($round, $runner++) } ];
    } @$crowd) ];

    my @outcomes = map { outcome($_) } @{ $round->{responses} };
    my $won = grep { $_ eq '200 ok' } @outcomes;
    my $loser = first { !/^(?:200 ok|409 conflict|403 same_person)$/ }
                @outcomes;

    $round->{winner} = first { $outcomes[$_] eq '200 ok' } 0 .. $#outcomes;

    expect($round, $won, 1, 'approvals');
    wrong($round, "a loser: $loser") if defined $loser;
    expect_story($round, 'filed', 'approved');
    expect($round, stored($round->{id})->{decisions}, 2, 'decisions');
    check_grant($round);

    return $round;
}


# Records and figures

# What the answers said is what is on record; and which losers had their
# intent written, so that it was Redis that stopped them.
sub check_records {
    my (@rounds) = @_;

    my %tags;

    for my $round (@rounds) {
        $round->{behind} = [];
        $tags{ tag($round, $_) } = [ $round, $_ ]
            for grep { leaves_record($round, $_) }
                0 .. $#{ $round->{responses} };
    }

    my (%outcomes, %intents);

    # the records come behind the answers
    $one->wait_for(sub {
        for my $record (new_records()) {
            if ($record->{'event.type'} eq 'start') {
                $intents{ $record->{'event.id'} }++;
            } else {
                my $tag = $record->{'user_agent.original'} // next;
                push @{ $outcomes{$tag} }, $record;
            }
        }
        return !grep { !$outcomes{$_} } keys %tags;
    }, undef, 'the records of all steps');

    for my $tag (keys %tags) {
        check_record(@{ $tags{$tag} }, \%intents, @{ $outcomes{$tag} });
    }
}

# A look leaves none, and those of policies and filings name no such request.
sub leaves_record {
    my ($round, $runner) = @_;

    return $round->{responses}[$runner]
        && (!$round->{runners}
            || $round->{runners}[$runner][1] !~ /^(?:show|policy|extend)$/);
}

sub check_record {
    my ($round, $runner, $intents, $record, @more) = @_;

    my $response = $round->{responses}[$runner];
    my $word = $response->status == 200 ? 'allow' : word_of($response);
    my $intended = $intents->{ $record->{'event.id'} } // 0;

    wrong($round, 'more than one outcome on record') if @more;
    expect($round, $record->{'event.reason'}, $word, 'the record');
    expect($round, $record->{'lockbox.request_id'},
           $round->{runners} && $round->{runners}[$runner][3]
               ? $round->{other} : $round->{id}, 'the request on record');
    wrong($round, "$intended intents on record")
        if $intended > 1 || $word eq 'allow' && !$intended;

    push @{ $round->{behind} }, $runner if $intended && $word ne 'allow';
}

sub new_records {
    my @records;

    for my $world ($one, $two) {
        my $file = $world->testdir . '/audit.log';

        open my $fh, '<:raw', $file or die "$file: $!\n";
        seek $fh, $read_to{$file} // 0, 0;

        while (defined(my $line = <$fh>)) {
            last if $line !~ /\n\z/;
            push @records, JSON::PP::decode_json($line);
            $read_to{$file} = tell $fh;
        }
    }

    return @records;
}

sub first_few {
    my (@lines) = @_;

    return @lines > 5 ? (@lines[0 .. 4], 'and ' . (@lines - 5) . ' more')
                      : @lines;
}

sub report {
    my ($name, $equal, @rounds) = @_;

    my @wrong = map { @{ $_->{wrong} } } @rounds;
    my @won = grep { defined $_->{winner} } @rounds;
    my @wins = map {
        my $runner = $_;
        scalar grep { $_->{winner} == $runner } @won;
    } 0, 1;
    my $overtaken = grep { $_->{winner} != $_->{started_first} } @won;
    my $behind = grep { @{ $_->{behind} } } @rounds;

    is(join("\n", first_few(@wrong)), '', "$name: one winner, one story");
    ok(was_race($equal, @rounds), "$name: it was a race");

    note(sprintf '%s: %d rounds, wins %d and %d, %d overtaken, %d losers '
         . 'in Redis', $name, scalar @rounds, @wins, $overtaken, $behind);
}
