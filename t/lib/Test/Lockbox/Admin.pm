package Test::Lockbox::Admin;

# The admin API as its people use it, and a look at what they leave in Redis
# and in the audit log.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();

our @EXPORT = qw(
    %PEOPLE $REQUESTS $MAIL
    begin change_conf redis_at use_world at
    token_of ask act outcome word_of uri filing file approve took approved
    collect knock eventually
    redis reconnect request_key live_key stored deadline_of make_due contents
    save_all load_all now
    settle records record_words
);

our $REQUESTS = '/lockbox/v1/tenants/acme/requests';
our $MAIL = '/tenants/acme/mail/inbox';

# Whose token, and what is different in it.
our %PEOPLE = (
    'engineer'         => [ 'engineer' ],
    'other-engineer'   => [ 'engineer', sub => 'emil' ],
    'engineer-manager' => [ 'engineer',
        claims => { realm_access => { roles => ['managers'] } } ],
    'manager'          => [ 'manager' ],
    'second-manager'   => [ 'manager', sub => 'max' ],
    'customer'         => [ 'customer' ],
    'second-customer'  => [ 'customer', sub => 'cora' ],
    'other-customer'   => [ 'customer', sub => 'gina',
        claims => { tenant_id => 'globex' } ],
    'auditor'          => [ 'auditor' ],
    'roleless'         => [ 'engineer', sub => 'nora',
        claims => { groups => [] } ],

    'former-engineer'  => [ 'engineer',
        claims => { groups => [],
                    realm_access => { roles => ['managers'] } } ],

    # each with the claims of roles that the issuer cannot give
    'false-customer'   => [ 'engineer', sub => 'petra',
        claims => { groups => [], roles => ['lockbox-approver'],
                    tenant_id => 'acme' } ],
    'false-manager'    => [ 'customer', sub => 'ulf',
        claims => { roles => [], groups => ['support-engineers', 'auditors'],
                    realm_access => { roles => ['managers'] } } ],
);

# whose nginx is called, whose Redis it is, and a connection there
our $World;
my ($Store, $Client);

my %Tokens;
my %Read;


# Starts Redis, the tenant API and nginx; the parts are those of conf().  On a
# busy machine Redis may take its time.
sub begin {
    my ($t, %parts) = @_;

    use_world($t);
    $t->redis;
    $t->upstream;
    write_parts(%parts);
    $t->run;
}

# Gives nginx another configuration.
sub change_conf {
    write_parts(@_);
    $World->reload;
}

sub write_parts {
    my (%parts) = @_;

    $parts{directives}{lockbox_redis} //= redis_at($Store);
    $World->write_conf($World->conf(%parts));
}

# The directive that leads to the Redis of that world.  Where nginx is slow, so
# is what it takes for the silence of Redis.
sub redis_at {
    my ($t) = @_;

    my $limit = $ENV{LOCKBOX_TIMEOUT} // 10;

    return 'unix:' . $t->testdir
           . "/redis.sock timeout=${limit}s connect_timeout=${limit}s";
}

sub use_world {
    my ($t) = @_;

    $World = $Store = $t;
}

# Does the work with the nginx of another world, and its records.
sub at {
    my ($world, $work) = @_;

    local $World = $world;

    return $work->();
}


# Calls

# The token of somebody, undef for "nobody".
sub token_of {
    my ($who) = @_;

    return undef if $who eq 'nobody';

    my ($role, %options) = @{ $PEOPLE{$who} };

    return $Tokens{$who} //= $World->identity($role, life => 7200, %options);
}

# A call in somebody's name; the options are those of http().
sub ask {
    my ($who, $method, $uri, %options) = @_;

    return $World->http($method, $uri, token => token_of($who), %options);
}

# A step on a request; "show" is one too.
sub act {
    my ($who, $action, $id, $body, %options) = @_;

    return ask($who, 'GET', uri($id), %options) if $action eq 'show';

    return ask($who, 'POST', uri($id, $action),
               defined $body ? (json => $body) : (), %options);
}

# Status and word: "200 ok", "403 own_request".
sub outcome {
    my ($response) = @_;

    return $response->status . ' ' . word_of($response);
}

sub word_of {
    my ($response) = @_;

    return $response->status =~ /^2/ ? 'ok' : $response->json->{code};
}

sub uri {
    my ($id, $action, $tenant) = @_;

    my $requests = $REQUESTS =~ s{acme}{$tenant // 'acme'}er;

    return join '/', $requests, $id, $action // ();
}

# The body that files a request; a member that is undef is left out.
sub filing {
    my (%members) = @_;

    my %body = (
        justification => 'The inbox of acme does not open.',
        reason => 'customer_initiated_support',
        duration => 3600,
        access => [ { service => 'mail', methods => [ 'GET', 'POST' ],
                      paths => [ '/tenants/acme/mail/' ], labels => [] } ],
        %members,
    );

    delete $body{$_} for grep { !defined $body{$_} } keys %body;

    return \%body;
}

# Files a request, by "who" on "tenant", and returns its id.
sub file {
    my (%members) = @_;

    my $who = delete $members{who} // 'engineer';
    my $tenant = delete $members{tenant} // 'acme';
    my $response = ask($who, 'POST', "/lockbox/v1/tenants/$tenant/requests",
                       json => filing(%members));

    $response->status == 201 or die 'not filed: ', $response->body;

    return $response->json->{id};
}

# A step that must succeed; the request after it.
sub took {
    my ($who, $action, $id, %body) = @_;

    my $response = act($who, $action, $id, \%body);

    $response->status == 200 or die "$who, $action: ", $response->body;

    return $response->json;
}

sub approve {
    my ($who, $id, %body) = @_;

    return took($who, 'approve', $id, version => stored($id)->{version} + 0,
                %body);
}

# A request that its manager and its customer have approved.
sub approved {
    my (%members) = @_;

    my $id = file(%members);
    approve($_, $id) for qw(manager customer);

    return $id;
}

# The grant of a request.
sub collect {
    my ($id, $who) = @_;

    return took($who // 'engineer', 'grant', $id)->{access_token};
}

# A request to the tenant API with that token.
sub knock {
    my ($grant, $method, $uri, %options) = @_;

    return $World->http($method // 'GET', $uri // $MAIL, token => $grant,
                        %options);
}

# Knocks until nginx has heard from Redis of what somebody else has changed; a
# request that is let in a moment before may be cut.  What is expected is an
# outcome or a pattern.
sub eventually {
    my ($grant, $expected) = @_;

    my $outcome;

    $World->wait_for(sub {
        $outcome = eval { outcome(knock($grant)) } // "cut: $@";
        return ref $expected ? $outcome =~ $expected : $outcome eq $expected;
    }, undef, "$expected to be heard");

    return $outcome;
}


# Redis

sub client {
    return $Client //= $Store->redis_client;
}

# After Redis has been started anew.
sub reconnect {
    undef $Client;
}

# The reply of a command that must not fail.
sub redis {
    return client()->command(@_);
}

# The replies of commands that are sent all at once.
sub pipeline {
    my (@commands) = @_;

    client()->send_command(@$_) for @commands;
    my @replies = map { scalar client()->reply } @commands;

    for my $reply (@replies) {
        die "Redis: $$reply\n"
            if ref $reply eq 'Test::Lockbox::Redis::Error';
    }

    return @replies;
}

sub request_key {
    my ($id, $tenant) = @_;

    return 'lockbox:{' . ($tenant // 'acme') . "}:request:$id";
}

sub live_key {
    my ($id, $tenant) = @_;

    return 'lockbox:grant:{' . ($tenant // 'acme') . "}:$id";
}

# The fields of a request, as bytes.
sub stored {
    return { @{ redis('HGETALL', request_key(@_)) } };
}

sub deadline_of {
    my ($id) = @_;

    return redis('ZSCORE', 'lockbox:deadlines', "acme:$id");
}

# Moves the deadline of an open request into the past, as time would.  With
# unseen => 1 no sweep finds it.
sub make_due {
    my ($id, %options) = @_;

    my $approved = stored($id)->{state} eq 'approved';
    my $past = now() - 1000;

    redis('HSET', request_key($id),
          $approved ? 'expires_at' : 'answer_by', $past);
    redis('DEL', live_key($id));

    if ($options{unseen}) {
        redis('ZREM', 'lockbox:deadlines', "acme:$id");
    } else {
        redis('ZADD', 'lockbox:deadlines', $past, "acme:$id");
    }
}

# Everything that is there, by key: what it holds and when it goes; without the
# trail, which has something to say of everything.
sub contents {
    my %READ = (
        hash => [ 'HGETALL' ], zset => [ 'ZRANGE', 0, -1, 'WITHSCORES' ],
        stream => [ 'XRANGE', '-', '+' ], string => [ 'GET' ],
    );

    my @keys = sort grep { !/^lockbox:(?:workers$|\{.*\}:audit$)/ }
               @{ redis('KEYS', '*') };
    my @types = pipeline(map { [ 'TYPE', $_ ] } @keys);
    my @ends = pipeline(map { [ 'PEXPIRETIME', $_ ] } @keys);
    my @values = pipeline(map {
        my ($command, @rest) = @{ $READ{ $types[$_] } };
        [ $command, $keys[$_], @rest ];
    } 0 .. $#keys);

    return { map {
        $keys[$_] => [ $ends[$_], $types[$_] eq 'hash'
                                  ? { @{ $values[$_] } } : $values[$_] ];
    } 0 .. $#keys };
}

# All keys, to be brought back by load_all().
sub save_all {
    my @keys = @{ redis('KEYS', '*') };
    my @ends = pipeline(map { [ 'PEXPIRETIME', $_ ] } @keys);
    my @dumps = pipeline(map { [ 'DUMP', $_ ] } @keys);

    return [ map {
        [ 'RESTORE', $keys[$_], $ends[$_] < 0 ? 0 : $ends[$_], $dumps[$_],
          'ABSTTL', 'REPLACE' ];
    } 0 .. $#keys ];
}

sub load_all {
    my ($saved) = @_;

    pipeline([ 'FLUSHALL' ], @$saved);
}

# Redis's time in milliseconds.
sub now {
    my ($seconds, $micro) = @{ redis('TIME') };

    return $seconds * 1000 + int $micro / 1000;
}


# Records

# When this returns, a single worker has recorded everything that it had
# answered before.
sub settle {
    $World->http('GET', '/lockbox/v1/jwks.json');
}

# The audit records since the last call.
sub records {
    settle();

    my $file = $World->testdir . '/audit.log';
    my $json = JSON::PP->new->utf8;

    open my $fh, '<:raw', $file or die "$file: $!\n";
    seek $fh, $Read{$file} // 0, 0;
    my @records = map { $json->decode($_) } <$fh>;
    $Read{$file} = tell $fh;

    return @records;
}

# "start approve", "end approve conflict", ...
sub record_words {
    return map {
        my $record = $_;
        join ' ', grep { defined }
                  @$record{qw(event.type event.action event.reason)};
    } @_;
}


1;
