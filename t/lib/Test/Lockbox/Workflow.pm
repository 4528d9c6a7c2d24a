package Test::Lockbox::Workflow;

# admin/workflow.lua in a Redis of the test, without nginx: people, requests in
# every state, calls of the script, and a look at what they have written.

use strict;
use warnings;

use Cwd qw(abs_path);
use Encode qw(decode_utf8);
use Exporter qw(import);
use File::Basename qw(dirname);
use JSON::PP ();

our $ID = '01900000-0000-7000-8000-000000000001';
our $ANSWER_WITHIN = 3_600_000;
our $LAPSES_WITHIN = 36_000_000;
our $DURATION = 7200;
our $ACCESS = '[{"service":"mail","methods":["GET"],"paths":["/"],'
              . '"labels":[]}]';
our $RETENTION = 86_400_000;

our @EXPORT = qw(
    $ID $ACCESS $ANSWER_WITHIN $LAPSES_WITHIN $DURATION $RETENTION %ACTOR
    %BLIND %STATE
    start call_as fresh overdue id evaluated called file decision step_args
    step did sweep swept due listed pages send_call
    redis request_key live_key stored deadline kept_until live_until events
    state_indexes indexes dump_keys flush now
);

my $SCRIPT = abs_path(dirname(__FILE__) . '/../../../../admin/workflow.lua');
my $JSON = JSON::PP->new->utf8->canonical;

# The script is called through $Client; $Redis may do everything.
our $Client;
my ($Redis, $Sha);


# Who there is

sub actor {
    my ($iss, $sub, $roles, $tenant) = @_;

    return {
        iss => "https://$iss.example",
        sub => $sub,
        roles => {
            map { $_ => $roles =~ /\b$_\b/ ? JSON::PP::true : JSON::PP::false }
                qw(engineer manager customer auditor)
        },
        defined $tenant ? (tenant => $tenant) : (),
    };
}

# In every state below "eve" is the request's engineer and "mia" has approved
# it as a manager.
our %ACTOR = (
    'engineer'           => actor('vendor', 'eve', 'engineer'),
    'engineer-manager'   => actor('vendor', 'eve', 'engineer manager'),
    'engineer-customer'  => actor('vendor', 'eve', 'engineer customer',
                                  'acme'),
    'engineer-as-both'   => actor('vendor', 'eve', 'manager customer', 'acme'),
    'engineer-no-longer' => actor('vendor', 'eve', ''),
    'other-engineer'     => actor('vendor', 'emil', 'engineer'),
    'namesake'           => actor('other', 'eve', 'engineer'),
    'manager'            => actor('vendor', 'max', 'manager'),
    'third-manager'      => actor('vendor', 'mona', 'manager'),
    'manager-decided'    => actor('vendor', 'mia', 'manager'),
    'decided-customer'   => actor('vendor', 'mia', 'customer', 'acme'),
    'decided-as-both'    => actor('vendor', 'mia', 'manager customer', 'acme'),
    'decided-namesake'   => actor('other', 'mia', 'manager'),
    'customer'           => actor('customers', 'cleo', 'customer', 'acme'),
    'second-customer'    => actor('customers', 'cora', 'customer', 'acme'),
    'other-customer'     => actor('customers', 'carl', 'customer', 'globex'),
    'tenantless'         => actor('customers', 'cleo', 'customer'),
    'auditor'            => actor('vendor', 'ada', 'auditor'),
    'tenant-auditor'     => actor('customers', 'ada', 'auditor', 'acme'),
    'other-auditor'      => actor('customers', 'ada', 'auditor', 'globex'),
    'customer-auditor'   => actor('customers', 'carl', 'customer auditor',
                                  'globex'),
    'nobody'             => actor('vendor', 'nora', ''),
);

# For these the request is not there.
our %BLIND = map { $_ => 1 } qw(
    engineer-no-longer other-engineer namesake other-customer tenantless
    other-auditor customer-auditor nobody
);


# States

# How each state comes about; the first word is what it then reads as.
our %STATE = (
    'awaiting_manager'  => sub { first_approval() },
    'awaiting_customer' => sub { first_approval(); did('approve', 'manager') },
    'needs_info of the manager'  => sub {
        first_approval(); did('ask', 'third-manager');
    },
    'needs_info of the customer' => sub {
        first_approval(); did('approve', 'manager');
        did('ask', 'second-customer');
    },
    'approved'          => sub { approved() },
    'denied'            => sub { first_approval(); did('deny', 'manager') },
    'cancelled'         => sub { first_approval(); did('cancel', 'engineer') },
    'revoked'           => sub { approved(); did('revoke', 'customer') },
    'completed'         => sub { approved(); did('complete', 'engineer') },
    'lapsed, swept'     => sub { first_approval(); overdue(); swept() },
    'expired, swept'    => sub { approved(); overdue(); swept() },
    'lapsed, due at the manager'  => sub { first_approval(); overdue() },
    'lapsed, due at the customer' => sub {
        first_approval(); did('approve', 'manager'); overdue();
    },
    'lapsed, due at the engineer' => sub {
        first_approval(); did('ask', 'third-manager'); overdue();
    },
    'expired, due'      => sub { approved(); overdue() },
);

sub fresh {
    my ($name) = @_;

    flush();
    $STATE{$name}->();
}

sub first_approval {
    file('engineer');
    did('approve', 'manager-decided',
        required => { manager => 2, customer => 1 });
}

sub approved {
    first_approval();
    did('approve', 'manager');
    did('approve', 'customer');
}

# Moves a deadline into the past, as time would.
sub overdue {
    my ($id, $ago) = @_;

    $id //= $ID;

    my $key = request_key('acme', $id);
    my $field = redis('HGET', $key, 'state') eq 'approved' ? 'expires_at'
                                                           : 'answer_by';
    my $past = now() - ($ago // 1);

    redis('HSET', $key, $field, $past);
    redis('ZADD', 'lockbox:deadlines', $past, "acme:$id");
}

sub id {
    my ($i) = @_;

    return sprintf '01900000-0000-7000-8000-%012d', $i;
}


# Calls

# Starts Redis in that world and hands it the script.
sub start {
    my ($t) = @_;

    $t->redis;
    $Redis = $Client = $t->redis_client;

    $Sha = redis('SCRIPT', 'LOAD', script());
}

sub script {
    open my $fh, '<:raw', $SCRIPT or die "$SCRIPT: $!\n";
    local $/;

    return <$fh>;
}

# Calls of the script in "work" go through the client.
sub call_as {
    my ($client, $work) = @_;

    local $Client = $client;

    return $work->();
}

# Sends a call; the reply is the client's next one.
sub send_call {
    my ($client, $action, $args) = @_;

    $client->send_command('EVALSHA', $Sha, 0, $action,
                          ref $args ? $JSON->encode($args) : $args);
}

# The answer, or the error that Redis gave.  The arguments may be a text.
sub evaluated {
    my ($action, $args) = @_;

    send_call($Client, $action, $args);
    my $reply = $Client->reply;

    return { error => $$reply, result => '', fields => {}, actions => [] }
        if ref $reply ne 'ARRAY';

    return $reply if $action eq 'due';

    return {
        result => $reply->[0], next => $reply->[1],
        events => [ map { { cursor => $_->[0], decoded(@{ $_->[1] }) } }
                        @{ $reply->[2] } ],
        $reply->[3] ne '' ? ($reply->[3] => 1) : (),
    } if $action eq 'events';

    return {
        result => $reply->[0], next => $reply->[1],
        requests => [ map { { fields => { decoded(@{ $_->[0] }) },
                              actions => $_->[1] } } @{ $reply->[2] } ],
    } if $action eq 'list';

    return {
        result => $reply->[0], fields => { decoded(@{ $reply->[1] }) },
        actions => $reply->[2],
        announced => [ map { { cursor => $_->[0], decoded(@{ $_->[1] }) } }
                           @{ $reply->[3] // [] } ],
    };
}

sub decoded {
    return map { decode_utf8($_) } @_;
}

# An argument that is undef is left out.
sub called {
    my ($action, $who, %args) = @_;

    %args = (actor => $ACTOR{$who}, %args);
    %args = (tenant => 'acme', id => $ID, %args)
        if $action !~ /^(list|events)$/;

    delete $args{$_} for grep { !defined $args{$_} } keys %args;

    return evaluated($action, \%args);
}

sub file {
    my ($who, %args) = @_;

    my %request = (
        id => $ID, tenant => 'acme',
        justification => 'The inbox does not open',
        reason => 'customer_initiated_support', ticket => 'SR-4711',
        duration => $DURATION, access => $ACCESS,
        %{ delete $args{request} // {} },
    );

    return called('file', $who, tenant => undef, id => undef,
                  request => \%request, decided_at => now(),
                  decision => decision($who, 'engineer', 'request'),
                  answer_within => $ANSWER_WITHIN,
                  lapses_within => $LAPSES_WITHIN, max_open => 1000,
                  retention => $RETENTION,
                  %args);
}

sub decision {
    my ($who, $stage, $decision) = @_;

    return decode_utf8($JSON->encode({
        stage => $stage, decision => $decision,
        by => { map { $_ => $ACTOR{$who}{$_} } qw(iss sub) },
        comment => 'as agreed', seal => 'eyJ.eyJ.sig',
        at => '2026-01-01T00:00:00.000Z',
    }));
}

# The arguments with which the step is right as far as the actor may take it.
sub step_args {
    my ($action, $who, %args) = @_;

    my $fields = stored($args{tenant} // 'acme', $args{id} // $ID);
    my $judges = $action =~ /^(approve|deny|ask)$/;
    my $stage = $action eq 'answer' ? 'engineer'
        : ($fields->{state} // '') eq 'awaiting_customer' ? 'customer'
        : $fields->{asked_by_stage} || 'manager';

    return (
        actor => $ACTOR{$who}, tenant => 'acme', id => $ID,
        $judges || $action eq 'answer'
            ? (version => int($fields->{version} // 1),
               decision => decision($who, $stage, $action),
               decided_at => now()) : (),
        $action eq 'approve'
            ? (access => $fields->{access} // '[]',
               duration => int($fields->{duration} // $DURATION),
               required => { manager => 1, customer => 1 },
               answer_within => $ANSWER_WITHIN) : (),
        $action ne 'grant' ? (retention => $RETENTION) : (),
        %args,
    );
}

sub step {
    my ($action, $who, %args) = @_;

    return called($action, $who, step_args($action, $who, %args));
}

# A step that must be taken; the request after it.
sub did {
    my ($action, $who, %args) = @_;

    my $reply = step($action, $who, %args);
    my ($result, $error) = @$reply{qw(result error)};

    $result eq 'ok' or die "$action by $who: $result ", $error // '', "\n";

    return $reply->{fields};
}

sub sweep {
    return evaluated('sweep', { tenant => 'acme', id => $ID,
                                retention => $RETENTION });
}

sub swept {
    my $reply = sweep();

    $reply->{result} eq 'ok' or die "sweep: $reply->{result}\n";

    return $reply;
}

sub due {
    my ($limit) = @_;

    my ($result, $found) = @{ evaluated('due', { limit => $limit }) };

    $result eq 'ok' or die "due: $result\n";

    return $found;
}

# A page of a list; states are words with commas between.
sub listed {
    my ($who, %args) = @_;

    my $states = delete $args{states};

    $args{states} = { map { $_ => JSON::PP::true } split /,/, $states }
        if defined $states;

    my $page = called('list', $who, limit => 100, %args);

    $page->{result} eq 'ok'
        or die "list: $page->{result} ", $page->{error} // '', "\n";
    $page->{ids} = [ map { $_->{fields}{id} } @{ $page->{requests} } ];

    return $page;
}

# All pages of a list; the test would never end if the list did not.
sub pages {
    my ($who, $limit, %args) = @_;

    my $cursor = delete $args{cursor};
    my @pages;

    while (@pages < 100) {
        my $page = listed($who, %args, limit => $limit, cursor => $cursor);

        push @pages, $page->{ids};
        $cursor = $page->{next};
        last if $cursor eq '';
    }

    return @pages;
}


# What is in Redis

# The reply of a command that must not fail.
sub redis {
    return $Redis->command(@_);
}

sub request_key {
    my ($tenant, $id) = @_;

    return 'lockbox:{' . ($tenant // 'acme') . '}:request:' . ($id // $ID);
}

sub live_key {
    return "lockbox:grant:{acme}:$ID";
}

sub stored {
    return { decoded(@{ redis('HGETALL', request_key(@_)) }) };
}

sub deadline {
    return redis('ZSCORE', 'lockbox:deadlines', "acme:$ID");
}

sub kept_until {
    return redis('PEXPIRETIME', request_key());
}

sub live_until {
    my $time = redis('PEXPIRETIME', live_key());

    return $time == -2 ? undef : $time;
}

sub events {
    return map { { decoded(@{ $_->[1] }) } }
               @{ redis('XRANGE', 'lockbox:{acme}:events', '-', '+') };
}

# The indexes that a request is in while it can still change.
sub state_indexes {
    return grep { /:(awaiting_\w+|needs_info|approved)\z/ }
                @{ redis('KEYS', 'lockbox:*') };
}

sub indexes {
    my @names = grep { redis('TYPE', $_) eq 'zset' } @{ redis('KEYS', '*') };

    return { map { $_ => { @{ redis('ZRANGE', $_, 0, -1, 'WITHSCORES') } } }
                 @names };
}

# All there is: names, values and ends.
sub dump_keys {
    return join '', map {
        "$_ " . unpack('H*', redis('DUMP', $_)) . ' '
        . redis('PEXPIRETIME', $_) . "\n"
    } sort @{ redis('KEYS', '*') };
}

sub flush {
    redis('FLUSHALL');
}

sub now {
    my ($seconds, $micro) = @{ redis('TIME') };

    return $seconds * 1000 + int($micro / 1000);
}


1;
