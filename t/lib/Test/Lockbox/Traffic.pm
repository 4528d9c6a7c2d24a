package Test::Lockbox::Traffic;

# One client of many that share their grants: files, decides, collects, uses
# and ends them, and asks for what nobody may have.  What must not have
# happened goes to the file "violations", a line each.
#
# A grant is a file with the token, named by its id, and in the directory that
# says how it stands: "live", "ending" while one of the clients is ending it,
# "ended" once that has been answered.

use strict;
use warnings;

use JSON::PP ();
use List::Util qw(max);
use Time::HiRes qw(sleep time);

use Test::Lockbox::Admin qw(filing);
use Test::Lockbox::Process;
use Test::Lockbox::Upstream;

# Seconds in which each request must be answered, whatever has happened.
my $DEADLINE = 10;

my $REQUESTS = '/lockbox/v1/tenants/acme/requests';
my $MAIL = '/tenants/acme/mail/inbox';

my $FEW_GRANTS = 12;
my $MANY_GRANTS = 24;
my $MANY_ENDED = 200;

# Of a hundred requests.
my @MIX = ((\&use_live) x 55, (\&use_ended) x 13, (\&use_wrongly) x 12,
           (\&administer) x 20);

# Steps that nobody may take on a request that has just been filed.
my @TRESPASSES = (
    [ 'engineer', 'approve', { version => 1 } ],
    [ 'customer', 'approve', { version => 1 } ],
    [ 'stranger', 'approve', { version => 1 } ],
    [ 'engineer', 'grant', {} ],
    [ 'manager', 'grant', {} ],
);


# The directories of all clients.
sub prepare {
    my ($t) = @_;

    for my $name (qw(live ending ended)) {
        mkdir $t->testdir . "/$name" or die "$name: $!\n";
    }

    $t->write_file('violations', '');
}

# Runs one of them until SIGTERM, at "rate" requests a second; "tokens" are
# identity tokens by role, "false_grants" what is none.  Leaves its counts in
# a file of its name.
sub run {
    my ($t, $name, %options) = @_;

    my $self = bless {
        t => $t, dir => $t->testdir, name => $name, count => {}, longest => 0,
        %options,
    }, __PACKAGE__;
    my $next = time;

    local $Test::Lockbox::Process::Timeout = $DEADLINE;
    local $SIG{TERM} = sub { $self->{stop} = 1 };
    srand $$;

    until ($self->{stop}) {
        $self->${ \$MIX[rand @MIX] };
        $next = max($next + 1 / $self->{rate}, time - 1);
        sleep max(0, $next - time);
    }

    $t->write_file($name, JSON::PP::encode_json(
        { count => $self->{count}, longest => $self->{longest} }));
}

sub violation {
    my ($self, $what) = @_;

    Test::Lockbox::Upstream::append("$self->{dir}/violations",
                                    localtime() . " $what\n");
}

# Asks, and counts the answer as one of that kind.  Returns nothing when the
# connection was lost before the whole of it had come.
sub ask {
    my ($self, $kind, $method, $uri, %options) = @_;

    my $from = time;
    my $response = eval {
        $self->{connection} //= $self->{t}->http_connect;
        $self->{connection}->request($method, $uri, %options, keepalive => 1)
                           ->response;
    };
    my $error = $@;
    my $took = time - $from;

    undef $response if $response && !$response->complete;

    return if $self->{stop} && !$response;

    $self->{longest} = max($self->{longest}, $took);
    $self->violation("$method $uri: no end after $took s: $error")
        if $took >= $DEADLINE;
    $self->{count}{$kind}{ $response ? $response->status : 'lost' }++;

    undef $self->{connection}
        if !$response || ($response->header('connection') // '') eq 'close';

    return $response;
}


# The tenant API

sub grants {
    my ($self, $state) = @_;

    opendir my $dir, "$self->{dir}/$state" or die "$state: $!\n";

    return grep { !/^\./ } readdir $dir;
}

# Id and token of some grant of that state.
sub pick {
    my ($self, $state) = @_;

    my @ids = $self->grants($state) or return;
    my $id = $ids[rand @ids];
    my $token = eval { $self->{t}->read_file("$state/$id") } // return;

    return ($id, $token);
}

sub stands {
    my ($self, $id, $state) = @_;

    return -e "$self->{dir}/$state/$id";
}

sub move {
    my ($self, $id, $from, $to) = @_;

    return rename "$self->{dir}/$from/$id", "$self->{dir}/$to/$id";
}

# Let in, unless somebody is ending it meanwhile or Redis is out of service.
sub use_live {
    my ($self) = @_;

    my ($id, $token) = $self->pick('live') or return $self->administer;
    my $response = $self->ask('good', 'GET', $MAIL, token => $token) or return;
    my $status = $response->status;

    return if $status == 200 || $status == 503;

    $self->violation("the live grant $id: " . $response->body)
        if $status != 401 || $self->stands($id, 'live');
}

# Never let in: its end had been answered before this was asked.
sub use_ended {
    my ($self) = @_;

    my ($id, $token) = $self->pick('ended') or return $self->administer;
    my $response = $self->ask('ended', 'GET', $MAIL, token => $token)
        or return;

    $self->violation("the ended grant $id: " . $response->status)
        if $response->status !~ /^(?:401|503)$/;
}

sub use_wrongly {
    my ($self) = @_;

    my (undef, $token) = $self->pick('live');
    my @false = @{ $self->{false_grants} };

    my @ways = (
        [ 'no grant', 'GET', $MAIL ],
        map({ [ "false grant $_", 'GET', $MAIL, token => $false[$_] ] }
            0 .. $#false),
        defined $token ? (
            [ 'tenant', 'GET', '/tenants/globex/mail/inbox', token => $token ],
            [ 'service', 'GET', '/tenants/acme/files/a', token => $token ],
            [ 'method', 'DELETE', $MAIL, token => $token ],
            [ 'signature', 'GET', $MAIL, token => forged($token) ],
        ) : (),
    );

    my ($what, @way) = @{ $ways[rand @ways] };
    my $response = $self->ask('wrong', @way) or return;

    $self->violation("wrong $what: " . $response->status)
        if $response->status !~ /^(?:401|403|503)$/;
}

# With another signature.
sub forged {
    my ($token) = @_;

    return $token =~ s/\.(.)([^.]*)$/'.' . ($1 eq 'A' ? 'B' : 'A') . $2/er;
}


# The admin API

sub administer {
    my ($self) = @_;

    return $self->look if rand() < 0.3;
    return $self->finish_end if $self->{ending};
    return $self->go_on if $self->{request};

    my $live = $self->grants('live');

    return $self->begin_end if $live > $MANY_GRANTS
                               || $live > $FEW_GRANTS && rand() < 0.5;
    return $self->file;
}

sub step {
    my ($self, $who, $action, $id, $body) = @_;

    return $self->ask($action, 'POST', "$REQUESTS/$id/$action",
                      token => $self->{tokens}{$who}, json => $body);
}

sub look {
    my ($self) = @_;

    my ($id) = $self->pick('live');
    my $uri = defined $id ? "$REQUESTS/$id" : "$REQUESTS?limit=5";
    my $response = $self->ask('look', 'GET', $uri,
                              token => $self->{tokens}{manager}) or return;

    $self->violation("GET $uri: " . $response->body)
        if $response->status !~ /^(?:200|503)$/;
}

sub file {
    my ($self) = @_;

    my $response = $self->ask('file', 'POST', $REQUESTS,
                              token => $self->{tokens}{engineer},
                              json => filing()) or return;

    if ($response->status == 201) {
        $self->{request} = { id => $response->json->{id}, trespassed => 0,
                             state => 'awaiting_manager' };
        return;
    }

    $self->violation('filing: ' . $response->body)
        if $response->status != 503;
}

# The next step of the request at hand, after one that must fail.
sub go_on {
    my ($self) = @_;

    my $request = $self->{request};

    if (!$request->{trespassed}++) {
        my ($who, $action, $body) = @{ $TRESPASSES[rand @TRESPASSES] };
        my $response = $self->step($who, $action, $request->{id}, $body)
            or return;

        $self->violation("$who, $action: " . $response->status)
            if $response->status !~ /^(?:403|404|409|503)$/;
        return;
    }

    return $self->collect if $request->{state} eq 'approved';

    my ($who, $version) = $request->{state} eq 'awaiting_manager'
        ? (manager => 1) : (customer => 2);
    my $response = $self->step($who, 'approve', $request->{id},
                               { version => $version }) or return;

    # of one whose answer was lost or too late it is told that it was taken
    if ($response->status =~ /^(?:200|409)$/) {
        $request->{state} = $response->json->{state};
    } elsif ($response->status != 503) {
        $self->violation('approve: ' . $response->body);
    }
}

sub collect {
    my ($self) = @_;

    my $id = $self->{request}{id};
    my $response = $self->step('engineer', 'grant', $id, {}) or return;

    if ($response->status == 200) {
        $self->{t}->write_file("ending/$id", $response->json->{access_token});
        $self->move($id, 'ending', 'live');
        delete $self->{request};

    } elsif ($response->status != 503) {
        $self->violation("collect $id: " . $response->body);
        delete $self->{request};
    }
}

sub begin_end {
    my ($self) = @_;

    my ($id) = $self->pick('live') or return;

    return if !$self->move($id, 'live', 'ending');

    $self->{ending} = $id;
    $self->{end_by} = rand() < 0.5 ? [ 'customer', 'revoke' ]
                                   : [ 'engineer', 'complete' ];
    $self->finish_end;
}

# As often as it takes: the answer of one that was carried out may be lost.
sub finish_end {
    my ($self) = @_;

    my $id = $self->{ending};
    my $response = $self->step(@{ $self->{end_by} }, $id, {}) or return;
    my $status = $response->status;

    return if $status == 503;

    $self->violation("end of $id: " . $response->body)
        if $status != 200 && ($status != 409 || $response->json->{state}
                                                !~ /^(?:revoked|completed)$/);

    $self->move($id, 'ending', 'ended');
    delete $self->{ending};

    my @ended = $self->grants('ended');
    unlink "$self->{dir}/ended/$ended[rand @ended]" if @ended > $MANY_ENDED;
}


1;
