#!/usr/bin/perl

# Why: each row of a table of states can be right and the whole still wrong.
# Here several people do at random what people do, over HTTP, and a model of
# the workflow (Test::Lockbox::Model) says for each step what must come of it:
# the answer, the request, and what everybody may do next.
#
# MODEL_SEQUENCES is how many stories are played, MODEL_SEED says which: the
# story of a seed is always the same one, and MODEL_SEED=n MODEL_SEQUENCES=1
# plays one alone.  A story that ends otherwise is played again in shorter
# versions, the shortest of which is shown.

use strict;
use warnings;

use FindBin ();
use JSON::PP ();
use List::Util qw(first max shuffle uniq);
use POSIX ();
use Time::Local ();
use Time::HiRes qw(time);

use Lockbox::Jose qw(decode);
use Test::Lockbox;
use Test::Lockbox::Http;
use Test::Lockbox::Model;

my $SEQUENCES = $ENV{MODEL_SEQUENCES} // 60;
my $SEED = $ENV{MODEL_SEED} // int rand 1_000_000_000;

my $STEPS = 16;
my $MOST_REQUESTS = 4;
my $MAX_OPEN = 2;

# stories that one nginx plays at once, each on tenants of its own
my $AT_ONCE = 4;

# ms that may lie between what the model takes for now and what Redis does; no
# deadline ever comes so close, as all that time passes in sevens of minutes
my $SLACK = 60_000;
my %WITHIN = (manager => 3600, customer => 10800, engineer => 1860);
my @MINUTES = (7, 21, 42, 70, 140, 280);

my $NOTHING = '01980000-0000-7000-8000-000000000000';

# seconds from the beginning of a play in which something is approved
# beforehand; no window that there can be ends so close to one of them
my @AHEAD = (2270, 8640, 20_790, (30 * 86_400) x 3);

my $VENDOR = 'https://login.vendor.example';
my $CUSTOMERS = 'https://login.customers.example';

# Who they are, and for customers of which tenant.
my %PEOPLE = (
    erin   => [ $VENDOR, 'erin', 'engineer' ],
    emil   => [ $VENDOR, 'emil', 'engineer' ],
    dora   => [ $VENDOR, 'dora', 'engineer manager' ],
    erin2  => [ $VENDOR, 'erin', 'engineer manager' ],
    erin3  => [ $VENDOR, 'erin', 'manager' ],
    mona   => [ $VENDOR, 'mona', 'manager' ],
    max    => [ $VENDOR, 'max', 'manager auditor' ],
    audrey => [ $VENDOR, 'audrey', 'auditor' ],
    nora   => [ $VENDOR, 'nora', '' ],
    carl   => [ $CUSTOMERS, 'carl', 'customer', 'a' ],
    cora   => [ $CUSTOMERS, 'cora', 'customer auditor', 'a' ],
    otto   => [ $CUSTOMERS, 'otto', 'auditor', 'a' ],
    gina   => [ $CUSTOMERS, 'gina', 'customer', 'b' ],
    gus    => [ $CUSTOMERS, 'gus', 'customer', 'b' ],
);

my @NAMES = sort keys %PEOPLE;
my @ENGINEERS = grep { $PEOPLE{$_}[2] =~ /engineer/ } @NAMES;

my $ISSUERS = <<"EOF_ISSUERS";
lockbox_issuer $VENDOR {
    keys      %%TESTDIR%%/vendor.jwks.json;
    audience  lockbox;
    role      engineer  groups=engineer;
    role      manager   groups=manager;
    role      auditor   groups=auditor;
}

lockbox_issuer $CUSTOMERS {
    keys          %%TESTDIR%%/customers.jwks.json;
    audience      lockbox;
    role          customer  groups=customer;
    role          auditor   groups=auditor;
    tenant_claim  tenant_id;
}
EOF_ISSUERS

my $SERVER = <<'EOF_SERVER';
keepalive_requests         100000000;
keepalive_timeout          3600s;
client_header_buffer_size  16k;
EOF_SERVER

my $UPSTREAM = <<'EOF_HTTP';
server {
    listen 127.0.0.1:%%PORT_8081%%;
    return 204;
}
EOF_HTTP

# Where one approval of each side is enough, and where it takes two; there a
# tenant "b" has no say.
my @RULES = (
    { approvals => { manager => 1, customer => 1 } },
    { approvals => { manager => 2, customer => 2 }, alone => 1 },
);

# By name, and tenant of those who belong to one.
my %TOKENS;

my $JSON = JSON::PP->new->canonical->ascii->allow_nonref;
my $WIRE = JSON::PP->new->canonical->utf8;

my @worlds = map { world($_) } @RULES;
my %seen;

note "MODEL_SEED=$SEED MODEL_SEQUENCES=$SEQUENCES";
play_all();

done_testing();


# Worlds

sub world {
    my ($rules) = @_;

    my $t = Test::Lockbox->new;
    my %alone = $rules->{alone}
        ? (lockbox_manager_only => join ' ', map { "b$_" } 0 .. $AT_ONCE - 1)
        : ();

    $t->redis;
    $t->write_conf($t->conf(
        server => $SERVER, http => $UPSTREAM, issuers => $ISSUERS,
        directives => {
            lockbox_redis => 'unix:%%TESTDIR%%/redis.sock timeout=60s',
            lockbox_answer_within => join(' ', map { "$_=$WITHIN{$_}s" }
                                                   sort keys %WITHIN),
            lockbox_approvals => join(' ', map {
                "$_=$rules->{approvals}{$_}" } qw(manager customer)),
            lockbox_max_open => $MAX_OPEN, %alone,
        }));
    $t->run;

    my $redis = $t->redis_client;
    my $world = { t => $t, redis => $redis, rules => $rules,
                  script => $redis->command('SCRIPT', 'LOAD', workflow()) };

    $world->{slots} = [ map { slot($world, $_) } 0 .. $AT_ONCE - 1 ];

    return $world;
}

sub workflow {
    open my $fh, '<:raw', "$FindBin::Bin/../admin/workflow.lua"
        or die "workflow.lua: $!\n";
    local $/;

    return scalar <$fh>;
}

# A place to play a story: tenants, people, and a connection.
sub slot {
    my ($world, $number) = @_;

    my %people = map { $_ => person($_, $number) } @NAMES;
    my $connection = $world->{t}->http_connect;

    return { world => $world, number => $number, people => \%people,
             connection => $connection };
}

# Tokens of type at+jwt, which are verified once and not twice.
sub person {
    my ($name, $number) = @_;

    my ($iss, $sub, $roles, $letter) = @{ $PEOPLE{$name} };
    my @roles = split ' ', $roles;
    my $tenant = defined $letter ? "$letter$number" : undef;

    my $token = $TOKENS{ join ' ', $name, $tenant // () }
        //= Test::Lockbox::Conf::identity(
            $iss eq $VENDOR ? 'engineer' : 'customer', sub => $sub,
            life => 80_000, header => { typ => 'at+jwt' },
            claims => { groups => \@roles, tenant_id => $tenant // 'none' });

    return { name => $name, iss => $iss, sub => $sub, tenant => $tenant,
             token => $token, roles => { map { $_ => 1 } @roles } };
}

# The rules of that place, for a model.
sub model {
    my ($slot) = @_;

    my $rules = $slot->{world}{rules};

    return Test::Lockbox::Model->new(
        within => \%WITHIN, max_open => $MAX_OPEN,
        approvals => $rules->{approvals},
        manager_only => $rules->{alone} ? { "b$slot->{number}" => 1 } : {});
}


# Stories

# A story is a list of steps, made while the model goes along.  What people
# can do at all is what they mostly try.
sub story {
    my ($seed, $slot) = @_;

    srand $seed;

    my $play = play($slot, $seed, []);
    my $story = $play->{story};

    $play->{begun} = 0;

    while (@$story < $STEPS) {
        my $step = invent($play);

        run_model($play, $step, 0);
        push @$story, $step;
    }

    return $story;
}

sub invent {
    my ($play) = @_;

    my ($model, $people) = ($play->{model}, $play->{slot}{people});

    return invent_policy($play) if rand() < 0.07;

    my $named = $play->{named};
    my @names = sort keys %$named;
    my @going = grep { !defined $named->{$_}{ended_at} } @names;

    return invent_filing($play)
        if !@names || @names < $MOST_REQUESTS && rand() < (@going ? 0.1 : 0.7);

    my $name = one_of((@going) x 4, @names);
    my $request = $named->{$name};
    my %step = (request => $name, watched => [ (shuffle @NAMES)[0 .. 2] ]);
    my $dice = rand;

    return { %step, action => 'pass', minutes => minutes_for($request) }
        if $dice < likelihood_of_time($request);
    return { %step, action => 'sweep' } if rand() < 0.03;

    my @possible = map {
        my $who = $_;
        map { ("$who $_") x likelihood($_) }
            $model->actions($people->{$who}, $request, 0)
    } @NAMES;

    @step{qw(who action)} = rand() < 0.7 && @possible
        ? split ' ', one_of(@possible)
        : (one_of(@NAMES), one_of($model->steps, 'knock'));
    $step{body} = invent_body($step{action}, $request);

    return \%step;
}

# While a question is open only the cap on the whole life counts.
sub likelihood_of_time {
    my ($request) = @_;

    return $request->{state} eq 'needs_info' ? 0.3
         : $request->{state} eq 'approved' ? 0.03 : 0.09;
}

# Then also so many that what comes behind the answer is cut short by the cap.
sub minutes_for {
    my ($request) = @_;

    return one_of(@MINUTES, $request->{state} eq 'needs_info' ? (140) x 6 : ());
}

sub likelihood {
    my ($action) = @_;

    my %LIKELIHOOD = (approve => 12, ask => 3, answer => 12, deny => 1,
                      cancel => 1, complete => 2, grant => 8, revoke => 1);

    return $LIKELIHOOD{$action};
}

sub invent_filing {
    my ($play) = @_;

    my $items = 1 + int rand 2;
    my $tenant = one_of(qw(a a a b)) . $play->{slot}{number};

    return {
        action => 'file', tenant => $tenant, name => scalar @{ $play->{story} },
        who => rand() < 0.9 ? one_of(@ENGINEERS) : one_of(@NAMES),
        watched => [ (shuffle @NAMES)[0 .. 2] ],
        body => {
            justification => one_of('The inbox does not open.',
                "Look \"here\": \\ \x{e9}\x{4e16} </script>\nand there"),
            reason => one_of(qw(customer_initiated_support
                                production_alert)),
            (rand() < 0.5 ? (ticket => 'SR-' . int rand 1000) : ()),
            duration => one_of(600, 3600, 14400),
            access => [ map { invent_item($tenant) } 1 .. $items ],
            invent_extension($play, $tenant),
        },
    };
}

# The name of a request that is to go on, mostly one for which that can be, and
# some of its access.
sub invent_extension {
    my ($play, $tenant) = @_;

    my $named = $play->{named};
    my @names = sort keys %$named;
    my @good = grep { $named->{$_}{tenant} eq $tenant
                      && $named->{$_}{state} =~ /^(?:app|exp|com)/ } @names;
    my $name = one_of((@good) x 8, @names);

    return if !defined $name || rand() < (@good ? 0.3 : 0.9);
    return (extends => $name,
            access => rand() < 0.7 ? $named->{$name}{access}
                                   : changed_access($named->{$name}{access}));
}

# What a customer allows no more, and what he allows beforehand.
sub invent_policy {
    my ($play) = @_;

    my $letter = one_of(qw(a a a b));
    my $tenant = $letter . $play->{slot}{number};
    my $alone = $play->{slot}{world}{rules}{approvals}{customer};
    my @customers = $letter eq 'a' ? qw(carl cora) : qw(gina gus);
    my %policy;

    $policy{max_duration} = one_of(600, 3600, 7200) if rand() < 0.3;
    $policy{approvals} = one_of($alone, 2) if rand() < 0.3;
    $policy{services} = ['mail'] if rand() < 0.2;
    $policy{reasons} = ['production_alert'] if rand() < 0.2;
    $policy{labels_never} = ['secret'] if rand() < 0.2;
    $policy{preapprovals} = [ map { invent_preapproval($tenant, $_) }
                              qw(first second) ] if rand() < 0.7;

    return {
        action => 'policy', tenant => $tenant,
        who => rand() < 0.8 ? one_of(@customers) : one_of(@NAMES),
        body => { version => one_of((0) x 8, 1), policy => \%policy },
    };
}

sub invent_preapproval {
    my ($tenant, $name) = @_;

    return {
        name => $name, until => one_of(@AHEAD),
        (rand() < 0.3 ? (max_duration => 600) : ()),
        (rand() < 0.2 ? (reasons => ['production_alert']) : ()),
        access => [ map { {
            service => $_, methods => some_of(2, qw(DELETE GET POST)),
            paths => ["/tenants/$tenant/"],
            labels => some_of(1, qw(confidential secret)),
        } } qw(mail files) ],
    };
}

sub invent_item {
    my ($tenant) = @_;

    my $paths = one_of([ 'mail/' ], [ 'mail' ], [ 'mail/inbox', 'mail/b/' ],
                       [ 'files/a/b' ]);

    return {
        service => one_of(qw(mail mail files)),
        methods => some_of(1, qw(DELETE GET POST)),
        paths => [ map { "/tenants/$tenant/$_" } @$paths ],
        labels => some_of(0, qw(confidential secret)),
    };
}

# A version that was seen, or another one; a decision may narrow, and some try
# to widen.
sub invent_body {
    my ($action, $request) = @_;

    return undef if $action eq 'knock';

    my %body;
    my $needs_version = $action =~ /^(?:approve|deny|ask)$/;

    $body{comment} = one_of('Go on.', "Why?\nBecause \x{2192}.", 'x' x 300)
        if $action =~ /^(?:ask|answer)$/
           || $action ne 'grant' && rand() < 0.3;
    $body{version} = one_of((0) x 12, -1, 1)
        if $action ne 'grant' && ($needs_version || rand() < 0.4);

    if ($action eq 'approve' && rand() < 0.4) {
        $body{access} = changed_access($request->{access})
            if rand() < 0.7;
        $body{duration} = one_of(60, 600, 1800, 3600, 14400)
            if rand() < 0.5;
    }

    return keys %body || rand() < 0.5 ? \%body : undef;
}

# Most of the ways of asking for less, and some of asking for more.
sub changed_access {
    my ($access) = @_;

    my $copy = $JSON->decode($JSON->encode($access));
    my $item = one_of(@$copy);

    one_of(
        sub { },
        (sub { @$copy = $item }) x 2,
        sub { pop @{ $item->{methods} } if @{ $item->{methods} } > 1 },
        sub { pop @{ $item->{labels} } },
        sub { pop @{ $item->{paths} } if @{ $item->{paths} } > 1 },
        sub { $item->{paths}[0] =~ s{/?\z}{/below} },
        sub { $item->{paths}[0] .= 'x' },
        sub { $item->{paths}[0] =~ s{(.)/[^/]*/?\z}{$1} },
        sub { push @{ $item->{methods} }, 'PUT' },
        sub { push @{ $item->{labels} }, 'top' },
        sub { $item->{service} = 'calendar' },
    )->();

    return $copy;
}

sub one_of {
    return $_[ int rand @_ ];
}

sub some_of {
    my ($least, @all) = @_;

    my $count = $least + int rand(@all - $least + 1);

    return [ sort +(shuffle @all)[0 .. $count - 1] ];
}


# What the model makes of a step: what must be answered, or undef where nobody
# is asked.
sub run_model {
    my ($play, $step, $now) = @_;

    my ($model, $action) = ($play->{model}, $step->{action});
    my $person = $step->{who} && $play->{slot}{people}{ $step->{who} };

    if ($action eq 'file') {
        my $answer = $model->file($person, $step->{tenant},
            filing_body($play, $step), $now, extended_by($play, $step));

        $play->{named}{ $step->{name} } = $answer->{request}
            if $answer->{request};
        return $answer;
    }

    return $model->set_policy($person, $step->{tenant},
                              policy_body($play, $step))
        if $action eq 'policy';

    my $request = $play->{named}{ $step->{request} };

    if ($action eq 'pass') {
        $model->pass($request, $step->{minutes}, $now);
    } elsif ($action eq 'sweep') {
        $model->sweep($request, $now);
    } elsif ($action ne 'knock') {
        return $model->step($person, $action, $request,
                            body_of($step, $request), $now);
    }

    return undef;
}

# Who extends what is not in a shorter version extends nothing that is there.
sub filing_body {
    my ($play, $step) = @_;

    return $step->{body} if !defined $step->{body}{extends};

    my $extended = extended_by($play, $step) // {};

    return { %{ $step->{body} }, extends => $extended->{id} // $NOTHING };
}

sub extended_by {
    my ($play, $step) = @_;

    my $name = $step->{body}{extends};

    return defined $name ? $play->{named}{$name} : undef;
}

sub policy_body {
    my ($play, $step) = @_;

    my %policy = %{ $step->{body}{policy} };

    $policy{preapprovals} = [ map { {
        %$_, until => POSIX::strftime('%Y-%m-%dT%H:%M:%SZ',
                                      gmtime($play->{begun} + $_->{until})),
    } } @{ $policy{preapprovals} } ] if $policy{preapprovals};

    return {
        policy => \%policy,
        version => $step->{body}{version}
                   + $play->{model}->policy_version($step->{tenant}),
    };
}

sub body_of {
    my ($step, $request) = @_;

    my $body = $step->{body} // {};

    return {
        %$body,
        defined $body->{version}
            ? (version => max(1, $request->{version} + $body->{version})) : (),
    };
}


# Plays

# Each slot plays one story after the other; while one answers, the others
# are asked.
sub play_all {
    my $begun = time;
    my $next = 0;
    my ($steps, @failed) = 0;
    my @slots = map { my $number = $_; map { $_->{slots}[$number] } @worlds }
                0 .. $AT_ONCE - 1;
    my @busy;

    while ($next < $SEQUENCES || @busy) {
        while ($next < $SEQUENCES && !@failed) {
            my $seed = $SEED + $next;
            my $slot = first { !$_->{play} } @{ $worlds[$seed % 2]{slots} };

            last unless $slot;
            $slot->{play} = play($slot, $seed, story($seed, $slot));
            push @busy, $slot;
            $next++;
        }

        last if @failed && !@busy;
        $next = $SEQUENCES if @failed;
        ask_next($_) for grep { !$_->{play}{asked} } @busy;

        for my $slot (splice @busy) {
            my $play = $slot->{play};

            hear($slot);
            ask_next($slot) unless done($play);

            if (done($play)) {
                $steps += $play->{at};
                push @failed, $play if $play->{wrong};
                clear($slot);
            } else {
                push @busy, $slot;
            }
        }
    }

    my $took = time - $begun;

    is(join("\n", map { account($_) } grep { defined } @failed[0, 1]), '',
        "$SEQUENCES stories ended as the model says");
    note(sprintf '%d steps in %.1f s, %.1f stories a second', $steps, $took,
         $SEQUENCES / $took);
    note('what was answered: ' . join ', ',
         map { "$_ $seen{$_}" } sort keys %seen);
}

sub play {
    my ($slot, $seed, $story) = @_;

    return { slot => $slot, seed => $seed, story => $story, at => 0,
             begun => int time,
             model => model($slot), named => {} };
}

sub done {
    my ($play) = @_;

    return $play->{wrong}
        || !$play->{asked} && $play->{at} >= @{ $play->{story} };
}

# Sends a step, and behind it the looks of all who may be touched by it.
sub ask_next {
    my ($slot) = @_;

    my $play = $slot->{play};
    my $step = $play->{story}[ $play->{at} ] // return;
    my $now = int(1000 * time);
    my $request = defined $step->{request}
        ? $play->{named}{ $step->{request} } : undef;

    $play->{at}++;

    # what it was about is not in a shorter version
    return ask_next($slot) if defined $step->{request} && !$request;

    let_pass($slot, $request, $step, $now) if !$step->{who};

    my $bytes = $step->{who} ? step_bytes($slot, $step, $request) : '';
    my $answer = run_model($play, $step, $now);

    delete $request->{shown}
        if $request && $step->{action} ne 'grant'
           && ($answer ? $answer->{word} eq 'ok' : !$step->{who});

    $play->{asked} = { step => $step, answer => $answer, now => $now,
                       request => $request, told => $bytes ne '' };

    # where a request is filed nobody knows yet where to look
    if ($request) {
        my @who = $step->{who} && $answer && $answer->{word} ne 'ok'
            ? uniq($step->{who}, @{ $step->{watched} }) : @NAMES;

        $play->{asked}{looks} = \@who;
        $bytes .= look_bytes($slot, $_, $request) for @who;
    }

    $slot->{connection}->send($bytes);
}

sub step_bytes {
    my ($slot, $step, $request) = @_;

    my $person = $slot->{people}{ $step->{who} };

    return Test::Lockbox::Http::request_bytes('GET',
        "/tenants/$request->{tenant}/mail/inbox/1", keepalive => 1,
        token => $request->{grant} // 'none')
        if $step->{action} eq 'knock';

    return Test::Lockbox::Http::request_bytes('PUT',
        "/lockbox/v1/tenants/$step->{tenant}/policy", keepalive => 1,
        token => $person->{token}, json => policy_body($slot->{play}, $step))
        if $step->{action} eq 'policy';

    my @body = !$step->{body} ? ()
        : (json => $step->{action} eq 'file'
                   ? filing_body($slot->{play}, $step)
                   : body_of($step, $request));
    my $uri = '/lockbox/v1/tenants/'
            . ($request ? $request->{tenant} : $step->{tenant}) . '/requests'
            . ($request ? "/$request->{id}/$step->{action}" : '');

    return Test::Lockbox::Http::request_bytes('POST', $uri, keepalive => 1,
        token => $person->{token}, @body);
}

sub look_bytes {
    my ($slot, $name, $request) = @_;

    # there are so many of these that each word counts
    return "GET /lockbox/v1/tenants/$request->{tenant}/requests/$request->{id}"
         . " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
         . "$slot->{people}{$name}{token}\r\n\r\n";
}


# Lets time go by, so that no sweep of nginx comes in between; or sweeps.
sub let_pass {
    my ($slot, $request, $step, $now) = @_;

    my $redis = $slot->{world}{redis};
    my $key = "lockbox:{$request->{tenant}}:request:$request->{id}";
    my $member = "$request->{tenant}:$request->{id}";

    if ($step->{action} eq 'sweep') {
        my $due = Test::Lockbox::Model::due_at($request);

        return if !defined $due || $due > $now;
        $redis->command('ZADD', 'lockbox:deadlines', $due, $member);
        $redis->command('EVALSHA', $slot->{world}{script}, 0, 'sweep',
            $WIRE->encode({ tenant => $request->{tenant},
                            id => $request->{id},
                            retention => 86_400_000 }));

    } elsif ($request->{state} eq 'approved') {
        $redis->command('HSET', $key, 'expires_at', $now - 1000);
        $redis->command('DEL',
            "lockbox:grant:{$request->{tenant}}:$request->{id}");
        $redis->command('ZREM', 'lockbox:deadlines', $member);

    } elsif (Test::Lockbox::Model::is_open($request)) {
        my $by = -60_000 * $step->{minutes};

        $redis->command('HINCRBY', $key, $_, $by) for qw(answer_by lapses_at);
        $redis->command('ZREM', 'lockbox:deadlines', $member);

        for my $index (@{ $redis->command('KEYS',
                              "lockbox:{$request->{tenant}}:open:*") })
        {
            $redis->command('ZINCRBY', $index, $by, $request->{id})
                if defined $redis->command('ZSCORE', $index, $request->{id});
        }
    }
}

# Reads what comes back, and holds it against the model.
sub hear {
    my ($slot) = @_;

    my $play = $slot->{play};
    my $asked = delete $play->{asked} or return;
    my $wrong = $play->{problems} = [];

    if ($asked->{told}) {
        my $response = $slot->{connection}->response;

        if ($asked->{step}{action} eq 'knock') {
            check_knock($play, $asked, $response);
        } else {
            check_answer($play, $asked, $response);
        }
    }

    check_looks($play, $asked, map { [ $_, $slot->{connection}->response ] }
                                   @{ $asked->{looks} // [] });
    check_keys($play, $asked->{now}) if $play->{at} == @{ $play->{story} };

    $play->{wrong} = join "\n", @$wrong if @$wrong;
}

sub wrong {
    my ($play, $what, $got, $expected) = @_;

    push @{ $play->{problems} }, "$what: $got, not $expected";
}

sub expect {
    my ($play, $what, $got, $expected) = @_;

    ($got, $expected) = map { ref ? $JSON->encode($_) : $_ // 'none' }
                        $got, $expected;
    wrong($play, $what, $got, $expected) if $got ne $expected;
}

sub expect_one {
    my ($play, $what, $got, @expected) = @_;

    expect($play, $what, $got, @expected == 1 ? $expected[0] : \@expected)
        if !grep { ($got // '') eq ($_ // '') } @expected;
}

sub check_answer {
    my ($play, $asked, $response) = @_;

    my ($step, $answer) = @$asked{qw(step answer)};
    my $json = $response->body eq '' ? {} : $response->json;
    my $word = $response->status =~ /^2/ ? 'ok' : $json->{code} // '?';

    $seen{"$step->{action} $word"}++;
    expect($play, 'the answer', $response->status . " $word",
           "$answer->{status} $answer->{word}");
    return if @{ $play->{problems} };

    if ($word ne 'ok') {
        expect($play, "the answer's $_", $json->{$_}, $answer->{$_})
            for qw(state version);
        expect_one($play, "the answer's member", $json->{member},
                   @{ $answer->{member} // [ undef ] });
        return;
    }

    if ($step->{action} eq 'policy') {
        my $set = $play->{model}{policies}{ $step->{tenant} };

        expect($play, 'the policy', [ @$json{qw(version policy)} ],
               [ @$set{qw(version policy)} ]);
        return;
    }

    my $request = $answer->{request} // $asked->{request};
    my $person = $play->{slot}{people}{ $step->{who} };

    $request->{id} = $json->{id} if $step->{action} eq 'file';

    if ($step->{action} eq 'grant') {
        check_grant($play, $request, $json, $asked->{now});
    } else {
        check_view($play, 'the answer', $response, $person, $request,
                   $asked->{now});
    }
}

# What is shown, as far as the model knows of it.  What was right before, and
# has not changed since, need not be read again.
sub check_view {
    my ($play, $what, $response, $person, $request, $now) = @_;

    my $shown = $response->body;
    my $actions = $shown =~ s/,"actions":\[([^\]]*)\]// ? $1 : '?';

    expect($play, "$what: actions", join(' ', sort $actions =~ /"(\w+)"/g),
           join ' ', $play->{model}->actions($person, $request, $now));
    return if $shown eq ($request->{shown} // '');

    wrong($play, "$what: what others see", $shown, $request->{shown})
        if defined $request->{shown};
    check_members($play, $what, $response->json, $request, $now);
    $request->{shown} = $shown =~ s/,"effective_by":"[^"]*"//r;
}

sub check_members {
    my ($play, $what, $json, $request, $now) = @_;

    my $view = $play->{model}->view($request, $now);

    expect($play, "$what: id", $json->{id}, $request->{id});
    expect($play, "$what: window", int(msec($json->{expires_at}) / 1000)
           - int(msec($json->{starts_at}) / 1000), $view->{duration})
        if defined $view->{expires_at} && $view->{state} ne 'expired';

    for my $member (sort keys %$view) {
        my ($got, $expected) = ($json->{$member}, $view->{$member});

        if ($member =~ /_(?:at|by)\z/) {
            expect_time($play, "$what: $member", $got, $expected);
        } elsif ($member eq 'decisions') {
            check_decisions($play, $what, $got, $expected,
                            Test::Lockbox::Model::timeout($request, $now));
        } else {
            expect($play, "$what: $member", $got, $expected);
        }
    }
}

sub check_decisions {
    my ($play, $what, $got, $expected, $timeout) = @_;

    # what nobody did is told, too
    if ($timeout) {
        my %last = %{ pop @$got // {} };

        delete $last{at};
        expect($play, "$what: the last step", \%last, $timeout);
    }

    expect($play, "$what: decisions", scalar @$got, scalar @$expected);
    return if @$got != @$expected;

    for my $i (0 .. $#$got) {
        my %got = %{ $got->[$i] };
        my %expected = %{ $expected->[$i] };

        expect_time($play, "$what: decision $i: at", delete $got{at},
                    delete $expected{at});
        expect($play, "$what: decision $i", \%got, \%expected);
    }
}

sub expect_time {
    my ($play, $what, $got, $expected) = @_;

    return expect($play, $what, $got, $expected)
        unless defined $got && defined $expected;

    my $at = msec($got);

    wrong($play, $what, $got, int(($expected - $at) / 1000) . ' s later')
        if !defined $at || abs($at - $expected) > $SLACK;
}

# Of RFC 3339, in UTC.
sub msec {
    my ($text) = @_;

    my ($year, $month, $day, $hour, $minute, $second, $msec)
        = $text =~ /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z\z/
        or return undef;

    return 1000 * Time::Local::timegm_modern($second, $minute, $hour, $day,
                                             $month - 1, $year) + $msec;
}

# Always the same one, for what was approved and until its end.
sub check_grant {
    my ($play, $request, $json, $now) = @_;

    my $token = $json->{access_token} // 'none';
    my $claims = decode($token)->{payload};
    my $key = $JSON->encode([ @$claims{qw(jti nbf exp)} ]);

    expect($play, 'the grant: jti', $claims->{jti}, $request->{id});
    expect($play, 'the grant: tenant', $claims->{tenant}, $request->{tenant});
    expect($play, 'the grant: sub', $claims->{sub}, $request->{author}{sub});
    expect($play, 'the grant: access', $claims->{authorization_details},
           [ map { { type => 'lockbox', %$_ } } @{ $request->{access} } ]);
    expect($play, 'the grant: life', $claims->{exp} - $claims->{nbf},
           $request->{duration});
    expect($play, 'the grant, once more', $key, $request->{same} // $key);
    wrong($play, 'the grant: exp', $claims->{exp}, $request->{expires_at})
        if abs(1000 * $claims->{exp} - $request->{expires_at}) > $SLACK;

    @$request{qw(grant same)} = ($token, $key);
}

# The gate.  That a window is over nginx hears a moment later than it is told
# here, so nobody knows what it says by then.
sub check_knock {
    my ($play, $asked, $response) = @_;

    my $request = $asked->{request};
    my $state = Test::Lockbox::Model::state($request, $asked->{now});
    my $word = $response->status =~ /^2/ ? 'ok' : $response->json->{code};

    return if $state eq 'expired' && $request->{grant};

    my $expected = !$request->{grant} ? 'malformed_token'
        : $state ne 'approved' ? $state
        : $request->{starts_at} > $asked->{now} ? 'not_yet_valid'
        : !(grep { $_->{service} eq 'mail' } @{ $request->{access} })
            ? 'wrong_service'
        : Test::Lockbox::Model::opens($request, 'GET', 'mail',
              "/tenants/$request->{tenant}/mail/inbox/1")
            ? 'ok' : qr/^wrong_(?:method|path)$/;

    $seen{"knock $word"}++;
    ref $expected ? $word =~ $expected || wrong($play, 'the gate', $word,
                                                $expected)
                  : expect($play, 'the gate', $word, $expected);
}

# Everybody who sees the request sees the same, but for the actions.
sub check_looks {
    my ($play, $asked, @looks) = @_;

    my ($request, $now) = @$asked{qw(request now)};

    for my $look (@looks) {
        my ($name, $response) = @$look;
        my $person = $play->{slot}{people}{$name};
        my $sees = Test::Lockbox::Model::sees($person, $request);

        expect($play, "$name looks", $response->status, $sees ? 200 : 404);
        check_view($play, "$name looks", $response, $person, $request, $now)
            if $sees && $response->status == 200;
    }
}

# In the end what is approved, and nothing else, has a live key, and the index
# of a state has what is in it, and nothing else.
sub check_keys {
    my ($play, $now) = @_;

    for my $request (grep { $_->{id} } $play->{model}->requests) {
        my $state = Test::Lockbox::Model::state($request, $now);
        my $key = "lockbox:grant:{$request->{tenant}}:$request->{id}";

        expect($play, "live keys of what is $state",
               $play->{slot}{world}{redis}->command('EXISTS', $key),
               $state eq 'approved' ? 1 : 0);
        expect($play, 'the states that a request is listed in',
               listed_in($play, $request),
               Test::Lockbox::Model::is_open($request)
               || $request->{state} eq 'approved' ? $request->{state} : '');
    }
}

sub listed_in {
    my ($play, $request) = @_;

    my $redis = $play->{slot}{world}{redis};

    return join ' ', grep {
        defined $redis->command('ZSCORE', "lockbox:requests:$_",
                                "$request->{tenant}:$request->{id}")
    } qw(awaiting_manager awaiting_customer needs_info approved);
}

# Nothing is left of it for the next one.
sub clear {
    my ($slot) = @_;

    my $redis = $slot->{world}{redis};
    my @sets = ('lockbox:deadlines', grep { !/:events\z/ }
                map { @{ $redis->command('KEYS', $_) } }
                    'lockbox:requests*', 'lockbox:engineer:*');

    for my $tenant (map { "$_$slot->{number}" } qw(a b)) {
        my @ids = grep { defined } map { $_->{id} }
                  grep { $_->{tenant} eq $tenant }
                  $slot->{play}{model}->requests;
        my @keys = @{ $redis->command('KEYS', "*{$tenant}*") };

        $redis->command('DEL', @keys) if @keys;

        for my $set (@ids ? @sets : ()) {
            $redis->command('ZREM', $set, map { "$tenant:$_" } @ids);
        }
    }

    $slot->{play} = undef;
}


# Differences

# The story in its shortest version that still ends otherwise.
sub account {
    my ($play) = @_;

    my ($slot, $seed) = @$play{qw(slot seed)};
    my @story = @{ $play->{story} }[0 .. $play->{at} - 1];
    my $best = replay($slot, $seed, @story);

    return join "\n", "MODEL_SEED=$seed MODEL_SEQUENCES=1: $play->{wrong}",
        'It did not happen again, after:', map { line($_) } @story
        unless $best->{wrong};

    for (my $i = $#story; $i >= 0; $i--) {
        next if $i > $#story;

        my @shorter = @story[grep { $_ != $i } 0 .. $#story];
        my $again = replay($slot, $seed, @shorter);

        next unless $again->{wrong};
        $best = $again;
        @story = @{ $again->{story} }[0 .. $again->{at} - 1];
    }

    my $number = 1;

    return join "\n", "MODEL_SEED=$seed MODEL_SEQUENCES=1", $best->{wrong},
        "after the last of these (of $play->{at} before they were cut down):",
        map { sprintf '%2d. %s', $number++, line($_) } @story;
}

sub replay {
    my ($slot, $seed, @story) = @_;

    my $play = $slot->{play} = play($slot, $seed, \@story);

    until (done($play)) {
        ask_next($slot);
        hear($slot);
    }

    clear($slot);

    return $play;
}

sub line {
    my ($step) = @_;

    return join ' ', $step->{who} // '(time)', $step->{action},
        $step->{action} eq 'file' ? "#$step->{name} at $step->{tenant}"
            : defined $step->{request} ? "#$step->{request}" : $step->{tenant},
        $step->{minutes} // (), $step->{body} ? $JSON->encode($step->{body})
                                              : ();
}
